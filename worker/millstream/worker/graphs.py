"""The graphs of a project, as they are opened for a run or a question."""

import inspect
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from millstream.shared.errors import NotFoundError, SettingError
from millstream.shared.project import apply_dependencies, apply_env, load_object
from millstream.worker.project import GraphEntry, read_config
from millstream.worker.store.lazy import ProjectStore, load_store

Graph = Pregel[Any, Any, Any, Any]


class GraphSource:
    """A graph as the user's module gives it: compiled, a builder, or a factory."""

    def __init__(self, graph_id: str, value: Any, description: str | None) -> None:
        self.graph_id: Final = graph_id
        self.description: Final = description
        self.compiled: Graph | None = None
        self._factory: Any = None
        self._takes_config = False
        if isinstance(value, StateGraph):
            value = value.compile()
        if isinstance(value, Pregel):
            self.compiled = value
        elif callable(value):
            self._factory = value
            self._takes_config = _takes_config(graph_id, value)
        else:
            raise SettingError(
                f"Graph {graph_id!r} is a {type(value).__name__}: it must be a compiled graph, "
                "a StateGraph, or a function that returns one."
            )

    @asynccontextmanager
    async def make(self, config: RunnableConfig) -> AsyncIterator[Graph]:
        """Calls the factory; what it opened with a context manager is closed at the end."""
        made = self._factory(config) if self._takes_config else self._factory()
        if inspect.isawaitable(made):
            made = await made
        if isinstance(made, AbstractAsyncContextManager):
            async with made as graph:
                yield self._checked(graph)
        elif isinstance(made, AbstractContextManager):
            with made as graph:
                yield self._checked(graph)
        else:
            yield self._checked(made)

    def _checked(self, value: Any) -> Graph:
        if isinstance(value, StateGraph):
            value = value.compile()
        if not isinstance(value, Pregel):
            raise TypeError(
                f"The factory of graph {self.graph_id!r} returned a {type(value).__name__}, "
                "not a graph."
            )
        return value


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

    @asynccontextmanager
    async def open(
        self, graph_id: str, config: RunnableConfig, checkpointer: BaseCheckpointSaver[Any]
    ) -> AsyncIterator[Graph]:
        """Gives the graph for one use; a factory is called with the config.

        It keeps its checkpoints in `checkpointer` and its items in the project's store, whatever
        it was compiled with.

        Raises NotFoundError for a graph that this worker does not serve.
        """
        source = self._sources.get(graph_id)
        if source is None:
            raise NotFoundError(f"This worker does not serve graph {graph_id!r}.")
        if source.compiled is not None:
            yield _bind(source.compiled, graph_id, checkpointer, self.store)
        else:
            async with source.make(config) as graph:
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


def _takes_config(graph_id: str, factory: Any) -> bool:
    parameters = [
        p
        for p in inspect.signature(factory).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    optional = "config" in inspect.signature(factory).parameters
    if len(parameters) > 1:
        names = ", ".join(p.name for p in parameters)
        raise SettingError(
            f"The factory of graph {graph_id!r} takes ({names}): it may take the run's config "
            "and nothing else."
        )
    return bool(parameters) or optional
