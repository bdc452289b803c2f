"""langgraph.json → graphs that can be run. Source: the LangGraph CLI's configuration file."""

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec
from dotenv import dotenv_values
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from millstream.shared.errors import NotFoundError, SettingError

Graph = Pregel[Any, Any, Any, Any]


class GraphEntry(msgspec.Struct, frozen=True):
    """One value of `graphs` in langgraph.json, in its long form."""

    path: str
    description: str | None = None


class ConfigFile(msgspec.Struct):
    """The keys of langgraph.json that a worker reads; others are for the API or for image builds."""

    graphs: dict[str, str | GraphEntry]
    dependencies: list[str] = []
    env: str | dict[str, str] = {}
    auth: dict[str, object] | None = None


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
    """The graphs of one langgraph.json."""

    def __init__(self, sources: list[GraphSource]) -> None:
        self._sources: Final = {source.graph_id: source for source in sources}

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

        It keeps its checkpoints in `checkpointer`, whatever it was compiled with.

        Raises NotFoundError for a graph that this worker does not serve.
        """
        source = self._sources.get(graph_id)
        if source is None:
            raise NotFoundError(f"This worker does not serve graph {graph_id!r}.")
        if source.compiled is not None:
            yield _bind(source.compiled, graph_id, checkpointer)
        else:
            async with source.make(config) as graph:
                yield _bind(graph, graph_id, checkpointer)


def _bind(graph: Graph, graph_id: str, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
    changes: dict[str, Any] = {"checkpointer": checkpointer}
    if graph.name == "LangGraph":  # nobody named it
        changes["name"] = graph_id
    return graph.copy(update=changes)


def read_config(path: Path) -> ConfigFile:
    """Reads langgraph.json; raises SettingError that says what is wrong and where."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SettingError(
            f"There is no {path.name} in {path.parent}. Name it with --config, or create one: "
            '{"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}'
        ) from None
    except OSError as error:
        raise SettingError(f"{path} can't be read: {error.strerror}") from None
    try:
        config = msgspec.json.decode(data, type=ConfigFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not a valid langgraph.json: {error}") from None
    if not config.graphs:
        raise SettingError(f"{path} names no graph: `graphs` is empty.")
    if config.auth is not None:
        raise SettingError(
            f"{path} asks for `auth`, which this version does not enforce: the API would be open "
            "to all. Put a proxy that authenticates before it, and take `auth` out."
        )
    return config


def load(path: Path) -> GraphRegistry:
    """Loads every graph of a langgraph.json, with its `env` and `dependencies` in place.

    Raises:
        SettingError: the file, a dependency or a graph can't be used; it says which and why.
    """
    config = read_config(path)
    folder = path.resolve().parent
    _apply_env(config.env, folder)
    _apply_dependencies(config.dependencies, folder)
    sources = []
    for graph_id, entry in config.graphs.items():
        long = GraphEntry(entry) if isinstance(entry, str) else entry
        value = load_object(long.path, folder, f"graph {graph_id!r}")
        sources.append(GraphSource(graph_id, value, long.description))
    return GraphRegistry(sources)


def load_object(spec: str, folder: Path, what: str) -> Any:
    """Returns what `path/to/file.py:name` or `package.module:name` stands for.

    Raises SettingError that names `what`.
    """
    where, colon, name = spec.rpartition(":")
    if not (colon and where and name):
        raise SettingError(f"{what}: {spec!r} is not of the form './file.py:variable'.")
    try:
        module = _import(where, folder, what)
    except SettingError:
        raise
    except BaseException as error:
        line = _last_line(error, folder)
        raise SettingError(
            f"{what}: {where} can't be imported: {type(error).__name__}: {error}{line}"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise SettingError(f"{what}: {where} has no {name!r}.") from None


def _import(where: str, folder: Path, what: str) -> ModuleType:
    if not (where.endswith(".py") or "/" in where):
        return importlib.import_module(where)
    file = (folder / where).resolve()
    if not file.is_file():
        raise SettingError(f"{what}: there is no file {where} in {folder}.")
    # Under the name that its own folder would import it by, so that it exists once, and what it
    # defines can be found again when a checkpoint is read.
    for root in map(Path, sys.path):
        if file.parent == root.resolve() and file.stem.isidentifier():
            return importlib.import_module(file.stem)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise SettingError(f"{what}: {where} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _apply_env(env: str | dict[str, str], folder: Path) -> None:
    """Sets what the process's environment does not set itself."""
    if isinstance(env, str):
        file = folder / env
        if not file.is_file():
            raise SettingError(f"env: there is no file {env} in {folder}.")
        values: dict[str, str | None] = dotenv_values(file)
    else:
        values = dict(env)
    for name, value in values.items():
        if value is not None:
            os.environ.setdefault(name, value)


def _apply_dependencies(dependencies: list[str], folder: Path) -> None:
    """Puts local folders on the import path; packages are the environment's business."""
    for dependency in dependencies:
        if not dependency.startswith("."):
            continue
        place = (folder / dependency).resolve()
        if not place.is_dir():
            raise SettingError(f"dependencies: there is no folder {dependency} in {folder}.")
        for root in (place / "src", place):
            if root.is_dir() and str(root) not in sys.path:
                sys.path.insert(0, str(root))


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


def _last_line(error: BaseException, folder: Path) -> str:
    """Returns ' (file.py, line N)': the deepest line of the user's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    found = ""
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(folder) and ".venv" not in file.parts:
            found = f" ({file.relative_to(folder)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found
