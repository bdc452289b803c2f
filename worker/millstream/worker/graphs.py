"""The graphs of a project: loads them, and opens one for a run or a call."""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from millstream.shared.errors import NotFoundError, SettingError
from millstream.shared.importing import load_object
from millstream.shared.langgraph_json import enter, read_project
from millstream.shared.langgraph_json.config import GraphEntry
from millstream.worker import remote_graph
from millstream.worker.factories import Factory, Graph, Use
from millstream.worker.store.lazy import ProjectStore, load_store

__all__ = ["Graph", "GraphRegistry", "GraphSource", "Use", "load"]

log = logging.getLogger(__name__)

JAVASCRIPT: Final = re.compile(r"\.[cm]?[jt]sx?(:|$)")


class GraphSource:
    """A graph as the project's module defines it: compiled, a builder, or a factory."""

    def __init__(
        self,
        graph_id: str,
        value: Any,
        description: str | None,
        *,
        isolated: bool = False,
        queue: str | None = None,
    ) -> None:
        """Raises SettingError if `value` is none of these."""
        self.graph_id: Final = graph_id
        self.description: Final = description
        self.queue: Final = queue  # that langgraph.json declares for its runs
        self.isolated: Final = isolated  # each of its runs is executed in its own process
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
        """Without `store`, the graphs share a store with default settings."""
        self._sources: Final = {source.graph_id: source for source in sources}
        self.store: Final = store or ProjectStore()

    @property
    def sources(self) -> list[GraphSource]:
        """The graphs in the order of the file."""
        return list(self._sources.values())

    @property
    def graph_ids(self) -> list[str]:
        """The ids of the graphs, in the order of the file."""
        return list(self._sources)

    @property
    def declared_queues(self) -> list[str]:
        """The queues that langgraph.json declares for graphs, in the order of the file."""
        return [source.queue for source in self.sources if source.queue is not None]

    def routes(self, default: str) -> dict[str, str]:
        """Returns the queue of each graph: the declared one, else `default`."""
        return {source.graph_id: source.queue or default for source in self.sources}

    def has_factory(self, graph_id: str) -> bool:
        """Returns whether a factory creates the graph for each use."""
        source = self._sources.get(graph_id)
        return source is not None and source.factory is not None

    def is_isolated(self, graph_id: str) -> bool:
        """Returns whether each run of the graph is executed in its own process."""
        source = self._sources.get(graph_id)
        return source is not None and source.isolated

    @asynccontextmanager
    async def open(
        self, graph_id: str, use: Use, checkpointer: BaseCheckpointSaver[Any]
    ) -> AsyncIterator[Graph]:
        """Opens the graph for one use. Calls its factory if it has one.

        The graph uses `checkpointer` and the project's store, even if it was compiled with others.

        Raises NotFoundError for a graph that this worker does not serve, and the errors of a factory.
        """
        source = self._sources.get(graph_id)
        if source is None:
            raise NotFoundError(f"This worker does not serve graph {graph_id!r}.")
        if source.compiled is not None:
            yield _bind(source.compiled, graph_id, checkpointer, self.store)
        elif source.factory is not None:
            async with source.factory.open(use, self.store) as graph:
                yield _bind(graph, graph_id, checkpointer, self.store)


def _bind(
    graph: Graph, graph_id: str, checkpointer: BaseCheckpointSaver[Any], store: ProjectStore
) -> Graph:
    changes: dict[str, Any] = {"checkpointer": checkpointer, "store": store}
    if graph.name == "LangGraph":  # LangGraph's default name
        changes["name"] = graph_id
    return graph.copy(update=changes)


def load(path: Path) -> GraphRegistry:
    """Loads every Python graph of a langgraph.json, in the environment that the file sets.

    Logs each key that has no effect once.

    Raises:
        SettingError: the file, some graphs or the store can't be used; the text names all of them and the reasons.
    """
    project = read_project(path)
    config, folder = project.config, project.folder
    notes = [*project.notes, *enter(project)]
    remote_graph.connect()
    entries = {
        graph_id: GraphEntry(entry) if isinstance(entry, str) else entry
        for graph_id, entry in config.graphs.items()
    }
    javascript = [graph_id for graph_id, entry in entries.items() if JAVASCRIPT.search(entry.path)]
    if javascript:
        notes.append(
            f"Graphs in JavaScript are not served, only graphs in Python: {', '.join(javascript)}."
        )
    for note in notes:
        log.warning("%s", note)
    sources, problems = [], []
    for graph_id, entry in entries.items():
        if graph_id in javascript:
            continue
        try:
            value = load_object(entry.path, folder, f"graph {graph_id!r}")
            isolated = entry.isolation == "process"
            sources.append(
                GraphSource(
                    graph_id, value, entry.description, isolated=isolated, queue=entry.queue
                )
            )
        except SettingError as error:
            problems.append(str(error))
    if len(problems) > 1:
        lines = "\n".join(f"  {sentence}" for sentence in problems)
        raise SettingError(f"{len(problems)} of {len(entries)} graphs can't be loaded:\n{lines}")
    if problems:
        raise SettingError(problems[0])
    if not sources:
        raise SettingError(f"{path} names no Python graph.")
    return GraphRegistry(sources, load_store(config.store, folder))
