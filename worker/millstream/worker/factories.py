"""Calls graph factories: finds out their parameters, and opens the graphs that they create.

Source: LangGraph's documentation on rebuilding graphs at runtime, and `langgraph_sdk.runtime`.
"""

import functools
import inspect
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, var_child_runnable_config
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.runtime import Runtime, ServerInfo
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import (
    AccessContext,
    ServerRuntime,
    _ExecutionRuntime,
    _ReadRuntime,
)
from langgraph_sdk.schema import Config

from millstream.shared.errors import SettingError
from millstream.worker import private_entries
from millstream.worker.context_fields import select_declared
from millstream.worker.graph_user import GraphUser

Graph = Pregel[Any, Any, Any, Any]

RUNTIMES: Final = (_ExecutionRuntime, _ReadRuntime)  # the classes in the union ServerRuntime
CONFIGS: Final = (RunnableConfig, Config)
RUNTIME_KEY: Final = "__pregel_runtime"  # LangGraph's get_store() and get_runtime() read it
VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Use:
    """The purpose for which a graph is opened.

    Args:
        access: the purpose, as `langgraph_sdk.runtime` names it.
        config: the config of the run, or of the thread or assistant that is read.
        context: the context of the run; None for other purposes.
    """

    access: AccessContext
    config: RunnableConfig
    context: Any = None

    @property
    def user(self) -> GraphUser | None:
        """The user of the run, or of the request that reads; None without authentication."""
        return private_entries.user_in(self.config)


class Factory:
    """A function, class or other callable that creates a graph for each use."""

    def __init__(self, graph_id: str, function: Callable[..., Any]) -> None:
        """Raises SettingError for a function that needs more than a config and a ServerRuntime.

        Args:
            graph_id: names the graph in errors.
            function: the project's callable.
        """
        self.graph_id: Final = graph_id
        self._function = function
        self._parameters = Parameters(graph_id, function)

    @asynccontextmanager
    async def open(self, use: Use, store: BaseStore) -> AsyncIterator[Graph]:
        """Opens the graph for one use. If the factory is a context manager, it exits after the use.

        Raises the errors of the factory, and TypeError if its result is not a graph.
        """
        failure: BaseException | None = None
        async with AsyncExitStack() as opened:
            with _set_runtime(use, store):
                value = self._parameters.call(self._function, use, store)
                is_async_context = isinstance(value, AbstractAsyncContextManager)
                if inspect.isawaitable(value) and not is_async_context:
                    value = await value
                if isinstance(value, AbstractAsyncContextManager):
                    value = await opened.enter_async_context(value)
                elif isinstance(value, AbstractContextManager):
                    value = opened.enter_context(value)
                graph = self._to_graph(value)
            try:
                yield graph
            except BaseException as error:
                failure = error
                raise
        if failure is not None:  # the factory's context manager has suppressed the error of the run
            raise failure

    def _to_graph(self, value: Any) -> Graph:
        if isinstance(value, StateGraph):
            value = value.compile()
        if not isinstance(value, Pregel):
            hint = ""
            if inspect.isgenerator(value) or inspect.isasyncgen(value):
                hint = ": decorate it with contextlib.contextmanager or asynccontextmanager"
            raise TypeError(
                f"The factory of graph {self.graph_id!r} returned a {type(value).__name__}, "
                f"not a graph{hint}."
            )
        return value


class Parameters:
    """The parameters of a factory: one for the config, and those for the runtime."""

    def __init__(self, graph_id: str, factory: Callable[..., Any]) -> None:
        """Raises SettingError for a factory that needs more than a config and a ServerRuntime."""
        try:
            self._signature = inspect.signature(factory)
        except (TypeError, ValueError):  # a callable that is not written in Python
            self._signature = inspect.Signature()
        bound = factory.keywords if isinstance(factory, functools.partial) else {}
        names = _names_for_annotations(factory)
        free = {
            name: (parameter, _resolve(parameter.annotation, names))
            for name, parameter in self._signature.parameters.items()
            if parameter.kind not in VARIADIC and name not in bound
        }
        self._runtimes = {name: kind for name, (_, kind) in free.items() if _is_runtime(kind)}
        others = {name: pair for name, pair in free.items() if name not in self._runtimes}
        if not self._runtimes and len(others) == 2 and "runtime" in others:
            self._runtimes["runtime"] = others.pop("runtime")[1]  # without an annotation
        self._config = _find_config_parameter(others)
        surplus = [
            name
            for name, (parameter, _) in others.items()
            if parameter.default is parameter.empty and name != self._config
        ]
        if surplus:
            raise SettingError(
                f"The factory of graph {graph_id!r} has the parameters ({', '.join(free)}). It may have one for the "
                "run's config and one for a langgraph_sdk.runtime.ServerRuntime; there is no value for "
                f"{', '.join(surplus)}."
            )

    def call(self, factory: Callable[..., Any], use: Use, store: BaseStore) -> Any:
        """Calls the factory with the arguments for its parameters."""
        bound = inspect.BoundArguments(self._signature, {})
        if self._config is not None:
            bound.arguments[self._config] = ensure_config(use.config)
        for name, kind in self._runtimes.items():
            bound.arguments[name] = _runtime(use, store, _context_class(kind))
        bound.apply_defaults()
        return factory(*bound.args, **bound.kwargs)


@contextmanager
def _set_runtime(use: Use, store: BaseStore) -> Iterator[None]:
    """Makes get_config(), get_store() and get_runtime() work within a factory."""
    config = ensure_config(use.config)
    configurable = config["configurable"]
    server = ServerInfo(
        assistant_id=str(configurable.get("assistant_id", "")),
        graph_id=str(configurable.get("graph_id", "")),
        user=use.user,
    )
    configurable[RUNTIME_KEY] = Runtime(context=use.context, store=store, server_info=server)
    token = var_child_runnable_config.set(config)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _runtime(use: Use, store: BaseStore, kind: Any) -> _ExecutionRuntime[Any] | _ReadRuntime[Any]:
    """Returns the ServerRuntime of a factory's call."""
    if use.access != "threads.create_run":
        return _ReadRuntime(access_context=use.access, user=use.user, store=store)
    return _ExecutionRuntime(
        access_context=use.access,
        user=use.user,
        store=store,
        context=_convert_context(use.context, kind),
    )


def _convert_context(context: Any, kind: Any) -> Any:
    """Returns the context as an object of the class in the factory's annotation.

    Raises the errors of the class, except for an empty context, which stays a dict.
    """
    if not isinstance(context, dict):
        return context
    if not (is_dataclass(kind) or hasattr(kind, "model_fields")):
        return dict(context)
    try:
        return kind(**select_declared(context, kind))
    except (TypeError, ValueError):
        if context:
            raise
        return {}


# ── Annotations ─────────────────────────────────────────────────────────────────────────────


def _names_for_annotations(factory: Any) -> Mapping[str, Any]:
    """Returns the names that the factory's annotations can use."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    factory = inspect.unwrap(factory)
    module = sys.modules.get(getattr(factory, "__module__", ""))
    names: Mapping[str, Any] = getattr(factory, "__globals__", vars(module) if module else {})
    return names


def _resolve(annotation: Any, names: Mapping[str, Any]) -> Any:
    """Returns the type of an annotation, or its text if a name in it does not exist at runtime.

    Resolves one annotation at a time: names that the project imports under TYPE_CHECKING are missing.
    """
    if not isinstance(annotation, str):
        return annotation
    holder = type("Holder", (), {"__annotations__": {"annotation": annotation}})
    try:
        return get_type_hints(holder, dict(names), include_extras=True)["annotation"]
    except Exception:  # noqa: BLE001 - of the project's code
        return annotation


def _is_runtime(kind: Any) -> bool:
    if isinstance(kind, str):
        return re.search(r"\bServerRuntime\b", kind) is not None
    return any(
        part is ServerRuntime or (isinstance(part, type) and issubclass(part, RUNTIMES))
        for part in _parts(kind)
    )


def _is_config(kind: Any) -> bool:
    if isinstance(kind, str):
        return re.search(r"\b(RunnableConfig|Config)\b", kind) is not None
    return any(part in CONFIGS for part in _parts(kind))


def _parts(kind: Any) -> Iterator[Any]:
    """Yields the classes in an annotation, also within unions, aliases, Annotated and generic types."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _parts(get_args(kind)[0])
    elif origin in (Union, UnionType):
        for part in get_args(kind):
            yield from _parts(part)
    elif origin is not None:
        yield from _parts(origin)
    else:
        yield kind
        if hasattr(kind, "__value__"):  # an alias of the project
            yield from _parts(kind.__value__)


def _context_class(kind: Any) -> Any:
    """Returns `Context` of ServerRuntime[Context], or None."""
    origin = get_origin(kind)
    if origin is None:  # it may be an alias of the project
        alias = None if kind is ServerRuntime else getattr(kind, "__value__", None)
        return None if alias is None else _context_class(alias)
    if origin in (Annotated, Union, UnionType):
        return next(filter(None, map(_context_class, get_args(kind))), None)
    return get_args(kind)[0] if _is_runtime(kind) else None


def _find_config_parameter(others: Mapping[str, tuple[inspect.Parameter, Any]]) -> str | None:
    """Returns the name of the parameter for the config, or None."""
    for name, (_, kind) in others.items():
        if _is_config(kind):
            return name
    if "config" in others:
        return "config"
    for name, (parameter, _) in others.items():
        if parameter.default is parameter.empty:
            return name
    for name, (parameter, kind) in others.items():
        if parameter.default is None and kind is parameter.empty:
            return name
    return None
