"""The graphs of a project, as they are opened for a run or a question."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from millstream.shared.errors import NotFoundError, SettingError
from millstream.shared.project import apply_dependencies, apply_env, load_object
from millstream.worker.factories import Factory, Graph, Use
from millstream.worker.project import GraphEntry, read_config
from millstream.worker.store.lazy import ProjectStore, load_store

__all__ = ["Graph", "GraphRegistry", "GraphSource", "Use", "load"]


class GraphSource:
    """A graph as the user's module gives it: compiled, a builder, or a factory."""

    def __init__(self, graph_id: str, value: Any, description: str | None) -> None:
        self.graph_id: Final = graph_id
        self.description: Final = description
        self.compiled: Graph | None = None
        self.factory: Factory | None = None
        if isinstance(value, StateGraph):
            value = value.compile()
        if isinstance(value, Pregel):
            self.compiled = value
        elif callable(value):
            self.factory = Factory(graph_id, value)
        else:
            raise SettingError(
                f"Graph {graph_id!r} is a {type(value).__name__}: it must be a compiled graph, "
                "a StateGraph, or a function that returns one."
            )


class GraphRegistry:
    """The graphs of one langgraph.json, and the store that they share."""

    def __init__(self, sources: list[GraphSource], store: ProjectStore | None = None) -> None:
        self._sources: Final = {source.graph_id: source for source in sources}
        self.store: Final = store or ProjectStore()

    @property
    def sources(self) -> list[GraphSource]:
        """The graphs in the order of the file."""
        return list(self._sources.values())

    @property
    def graph_ids(self) -> list[str]:
        """Their names."""
        return list(self._sources)

    def is_made(self, graph_id: str) -> bool:
        """Returns whether a factory makes the graph anew for each use."""
        source = self._sources.get(graph_id)
        return source is not None and source.factory is not None

    @asynccontextmanager
    async def open(
        self, graph_id: str, use: Use, checkpointer: BaseCheckpointSaver[Any]
    ) -> AsyncIterator[Graph]:
        """Gives the graph for one use; a factory is called for it.

        It keeps its checkpoints in `checkpointer` and its items in the project's store, whatever
        it was compiled with.

        Raises NotFoundError for a graph that this worker does not serve, and what a factory raises.
        """
        source = self._sources.get(graph_id)
        if source is None:
            raise NotFoundError(f"This worker does not serve graph {graph_id!r}.")
        if source.compiled is not None:
            yield _bind(source.compiled, graph_id, checkpointer, self.store)
        elif source.factory is not None:
            async with source.factory.graph(use, self.store) as graph:
                yield _bind(graph, graph_id, checkpointer, self.store)


def _bind(
    graph: Graph, graph_id: str, checkpointer: BaseCheckpointSaver[Any], store: ProjectStore
) -> Graph:
    changes: dict[str, Any] = {"checkpointer": checkpointer, "store": store}
    if graph.name == "LangGraph":  # nobody named it
        changes["name"] = graph_id
    return graph.copy(update=changes)


def load(path: Path) -> GraphRegistry:
    """Loads every graph of a langgraph.json, with its `env` and `dependencies` in place.

    Raises:
        SettingError: the file, a dependency, a graph or the store can't be used; it says which and why.
    """
    config = read_config(path)
    folder = path.resolve().parent
    apply_env(config.env, folder)
    apply_dependencies(config.dependencies, folder)
    sources = []
    for graph_id, entry in config.graphs.items():
        long = GraphEntry(entry) if isinstance(entry, str) else entry
        value = load_object(long.path, folder, f"graph {graph_id!r}")
        sources.append(GraphSource(graph_id, value, long.description))
    return GraphRegistry(sources, load_store(config.store, folder))
