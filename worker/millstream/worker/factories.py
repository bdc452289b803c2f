"""Graph factories: which arguments a factory takes, and the graph that it makes of them.

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
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import (
    AccessContext,
    ServerRuntime,
    _ExecutionRuntime,
    _ReadRuntime,
)
from langgraph_sdk.schema import Config

from millstream.shared.errors import SettingError
from millstream.worker.context_fields import select_declared

Graph = Pregel[Any, Any, Any, Any]

RUNTIMES: Final = (_ExecutionRuntime, _ReadRuntime)  # what a ServerRuntime is made of
CONFIGS: Final = (RunnableConfig, Config)
RUNTIME_KEY: Final = "__pregel_runtime"  # where LangGraph's get_store() and get_runtime() look
UNNAMED: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Use:
    """What a graph is opened for.

    Args:
        access: why, in the words of `langgraph_sdk.runtime`.
        config: of the run, or of the thread or assistant that is looked at.
        context: the run's; of other uses there is none.
    """

    access: AccessContext
    config: RunnableConfig
    context: Any = None


class Factory:
    """A function, class or other callable that makes a graph for each use.

    Raises SettingError for one that takes more than a config and a ServerRuntime.
    """

    def __init__(self, graph_id: str, make: Callable[..., Any]) -> None:
        """`graph_id` names the graph in errors."""
        self.graph_id: Final = graph_id
        self._make = make
        self._parameters = Parameters(graph_id, make)

    @asynccontextmanager
    async def graph(self, use: Use, store: BaseStore) -> AsyncIterator[Graph]:
        """Gives the graph for one use; what the factory opened with a context manager is closed after it.

        Raises what the factory raises, and TypeError for what is not a graph.
        """
        raised: BaseException | None = None
        async with AsyncExitStack() as opened:
            with _configured(use, store):
                made = self._parameters.call(self._make, use, store)
                if inspect.isawaitable(made) and not isinstance(made, AbstractAsyncContextManager):
                    made = await made
                if isinstance(made, AbstractAsyncContextManager):
                    made = await opened.enter_async_context(made)
                elif isinstance(made, AbstractContextManager):
                    made = opened.enter_context(made)
                graph = self._checked(made)
            try:
                yield graph
            except BaseException as error:
                raised = error
                raise
        if raised is not None:  # the factory's context manager has swallowed what the run raised
            raise raised

    def _checked(self, value: Any) -> Graph:
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
    """The parameters of a factory: which of them are given the config, and which the runtime."""

    def __init__(self, graph_id: str, factory: Callable[..., Any]) -> None:
        """Raises SettingError for a factory that takes more than a config and a ServerRuntime."""
        try:
            self._signature = inspect.signature(factory)
        except (TypeError, ValueError):  # of a callable that is not written in Python
            self._signature = inspect.Signature()
        bound = factory.keywords if isinstance(factory, functools.partial) else {}
        names = _names(factory)
        free = {
            name: (parameter, _resolved(parameter.annotation, names))
            for name, parameter in self._signature.parameters.items()
            if parameter.kind not in UNNAMED and name not in bound
        }
        self._runtimes = {name: kind for name, (_, kind) in free.items() if _is_runtime(kind)}
        others = {name: each for name, each in free.items() if name not in self._runtimes}
        if not self._runtimes and len(others) == 2 and "runtime" in others:
            self._runtimes["runtime"] = others.pop("runtime")[1]  # nothing is annotated
        self._config = _of_config(others)
        surplus = [
            name
            for name, (parameter, _) in others.items()
            if parameter.default is parameter.empty and name != self._config
        ]
        if surplus:
            raise SettingError(
                f"The factory of graph {graph_id!r} takes ({', '.join(free)}): it may take the run's "
                "config and a langgraph_sdk.runtime.ServerRuntime; nothing is known of "
                f"{', '.join(surplus)}."
            )

    def call(self, factory: Callable[..., Any], use: Use, store: BaseStore) -> Any:
        """Calls the factory with what it takes."""
        given = inspect.BoundArguments(self._signature, {})
        if self._config is not None:
            given.arguments[self._config] = ensure_config(use.config)
        for name, kind in self._runtimes.items():
            given.arguments[name] = _runtime(use, store, _context_class(kind))
        given.apply_defaults()
        return factory(*given.args, **given.kwargs)


@contextmanager
def _configured(use: Use, store: BaseStore) -> Iterator[None]:
    """Lets get_config(), get_store() and get_runtime() work while a factory makes its graph."""
    config = ensure_config(use.config)
    config["configurable"][RUNTIME_KEY] = Runtime(context=use.context, store=store)
    token = var_child_runnable_config.set(config)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _runtime(use: Use, store: BaseStore, kind: Any) -> _ExecutionRuntime[Any] | _ReadRuntime[Any]:
    """Returns what tells a factory why it is called. There is no user: nobody is authenticated yet."""
    if use.access != "threads.create_run":
        return _ReadRuntime(access_context=use.access, store=store)
    return _ExecutionRuntime(
        access_context=use.access, store=store, context=_context(use.context, kind)
    )


def _context(context: Any, kind: Any) -> Any:
    """Returns the context as the class that the factory's annotation names.

    Raises what the class raises; an empty context that it refuses stays as it is.
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


def _names(factory: Any) -> Mapping[str, Any]:
    """Returns the names that the factory's annotations may use."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    factory = inspect.unwrap(factory)
    module = sys.modules.get(getattr(factory, "__module__", ""))
    found: Mapping[str, Any] = getattr(factory, "__globals__", vars(module) if module else {})
    return found


def _resolved(annotation: Any, names: Mapping[str, Any]) -> Any:
    """Returns what an annotation stands for, or its text if that is not known at runtime.

    Each is looked up by itself: names that were imported under TYPE_CHECKING are missing.
    """
    if not isinstance(annotation, str):
        return annotation
    holder = type("Holder", (), {"__annotations__": {"annotation": annotation}})
    try:
        return get_type_hints(holder, dict(names), include_extras=True)["annotation"]
    except Exception:  # noqa: BLE001 - of the user's own code: the text says what is known of it
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
    """Yields the classes of an annotation: of unions, aliases, Annotated and what has parameters too."""
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
        if hasattr(kind, "__value__"):  # an alias of the user's own
            yield from _parts(kind.__value__)


def _context_class(kind: Any) -> Any:
    """Returns `Context` of ServerRuntime[Context], None if there is none."""
    origin = get_origin(kind)
    if origin is None:  # an alias of the user's own leads to more
        alias = None if kind is ServerRuntime else getattr(kind, "__value__", None)
        return None if alias is None else _context_class(alias)
    if origin in (Annotated, Union, UnionType):
        return next(filter(None, map(_context_class, get_args(kind))), None)
    return get_args(kind)[0] if _is_runtime(kind) else None


def _of_config(others: Mapping[str, tuple[inspect.Parameter, Any]]) -> str | None:
    """Returns the name of the parameter that is given the config, None if there is none."""
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
