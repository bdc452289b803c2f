# mypy: disable-error-code="type-arg"
"""Factories: every signature with its arguments, and the handling of exceptions."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config, get_store
from langgraph.graph import START, StateGraph
from langgraph.runtime import get_runtime
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import ServerRuntime
from pydantic import BaseModel

from millstream.shared.errors import SettingError
from millstream.worker.factories import Factory, Graph, Use

if TYPE_CHECKING:
    from langgraph_sdk import runtime as hidden

STORE = InMemoryStore()
ARGUMENTS: list[Any] = []  # the arguments of the factories


class State(TypedDict, total=False):
    text: str


BUILDER = StateGraph(State).add_node("node", lambda state: {"text": "ran"}).add_edge(START, "node")
GRAPH: Graph = BUILDER.compile()


@dataclass
class Wants:
    model: str
    size: int = 1


class Model(BaseModel):
    model: str


class Loose(TypedDict):
    model: str


def seen(*arguments: Any) -> Graph:
    ARGUMENTS.extend(arguments)
    return GRAPH


@pytest.fixture(autouse=True)
def _nothing_given() -> None:
    ARGUMENTS.clear()


def use(access: Any = "threads.create_run", **context: Any) -> Use:
    return Use(access, {"configurable": {"mode": "strict"}, "tags": ["t"]}, context)


def kind(value: Any) -> str:
    if isinstance(value, dict):
        assert value["configurable"]["mode"] == "strict"
        return "config"
    return "runtime" if hasattr(value, "access_context") else repr(value)


# ── What a factory takes ────────────────────────────────────────────────────────────────────


def nothing() -> Graph:
    return seen()


def any_name(anything):  # type: ignore[no-untyped-def]
    return seen(anything)


def a_dict(settings: dict[str, Any]) -> Graph:
    return seen(settings)


def a_config(c: RunnableConfig) -> Graph:
    return seen(c)


def maybe_config(c: RunnableConfig | None = None) -> Graph:
    return seen(c)


def only_named(*, config: RunnableConfig) -> Graph:
    return seen(config)


def only_placed(c: RunnableConfig, runtime: ServerRuntime, /) -> Graph:
    return seen(c, runtime)


def placed_behind_a_default(size: int = 1, config: Any = None, /) -> Graph:
    return seen(size, config)


def a_runtime(anything: ServerRuntime) -> Graph:
    return seen(anything)


def a_typed_runtime(rt: ServerRuntime[Wants]) -> Graph:
    return seen(rt)


def an_annotated_runtime(rt: Annotated[ServerRuntime[Wants], "why"]) -> Graph:
    return seen(rt)


def maybe_runtime(rt: ServerRuntime | None = None) -> Graph:
    return seen(rt)


def config_first(config: RunnableConfig, runtime: ServerRuntime) -> Graph:
    return seen(config, runtime)


def runtime_first(runtime: ServerRuntime, whatever) -> Graph:  # type: ignore[no-untyped-def]
    return seen(runtime, whatever)


def hidden_modules(*, config: RunnableConfig | None = None, b: hidden.ServerRuntime) -> Graph:
    return seen(config, b)


def bare(config, runtime):  # type: ignore[no-untyped-def]
    return seen(config, runtime)


def with_more(
    runtime: ServerRuntime, config: RunnableConfig, size: int = 3, *rest: Any, **more: Any
) -> Graph:
    return seen(runtime, config, size, rest, more)


def a_setting(model: str = "small") -> Graph:
    return seen(model)


class Callable_:
    def __call__(self, config: RunnableConfig) -> Graph:
        return seen(config)

    def method(self, runtime: ServerRuntime, config: RunnableConfig) -> Graph:
        return seen(runtime, config)

    @classmethod
    def of_class(cls, runtime: ServerRuntime) -> Graph:
        return seen(runtime)


class Opened:
    def __init__(self, runtime: ServerRuntime) -> None:
        self.runtime = runtime

    async def __aenter__(self) -> Graph:
        return seen(self.runtime)

    async def __aexit__(self, *_: object) -> None:
        ARGUMENTS.append("closed")


def wrapped(factory: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(factory)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return factory(*args, **kwargs)

    return wrapper


async def in_a_coroutine(config: RunnableConfig, runtime: ServerRuntime) -> Any:
    return seen(config, runtime)


@contextlib.contextmanager
def in_a_context(runtime: ServerRuntime, config: RunnableConfig) -> Iterator[Any]:
    yield seen(runtime, config)


@contextlib.asynccontextmanager
async def in_an_async_context(config: RunnableConfig, runtime: ServerRuntime) -> AsyncIterator[Any]:
    yield seen(config, runtime)


async def a_context_in_a_coroutine(runtime: ServerRuntime) -> Any:
    return in_a_context(runtime, {"configurable": {"mode": "strict"}})


def a_coroutine_in_a_function(config: RunnableConfig, runtime: ServerRuntime) -> Any:
    return in_a_coroutine(config, runtime)


def a_builder(config: RunnableConfig) -> Any:
    seen(config)
    return BUILDER


@pytest.mark.parametrize(
    ("factory", "arguments"),
    [
        (nothing, []), (any_name, ["config"]), (a_dict, ["config"]), (a_config, ["config"]),
        (maybe_config, ["config"]), (only_named, ["config"]), (only_placed, ["config", "runtime"]),
        (placed_behind_a_default, ["1", "config"]), (a_runtime, ["runtime"]),
        (a_typed_runtime, ["runtime"]), (an_annotated_runtime, ["runtime"]),
        (maybe_runtime, ["runtime"]), (config_first, ["config", "runtime"]),
        (runtime_first, ["runtime", "config"]), (hidden_modules, ["config", "runtime"]), (bare, ["config", "runtime"]),
        (with_more, ["runtime", "config", "3", "()", "more"]), (a_setting, ["'small'"]),
        (Callable_(), ["config"]), (Callable_().method, ["runtime", "config"]),
        (Callable_.of_class, ["runtime"]), (Opened, ["runtime", "'closed'"]),
        (functools.partial(with_more, size=4), ["runtime", "config", "4", "()", "more"]),
        (functools.partial(Callable_.method, Callable_()), ["runtime", "config"]),
        (wrapped(config_first), ["config", "runtime"]),
        (in_a_coroutine, ["config", "runtime"]), (in_a_context, ["runtime", "config"]),
        (in_an_async_context, ["config", "runtime"]),
        (a_context_in_a_coroutine, ["runtime", "config"]),
        (a_coroutine_in_a_function, ["config", "runtime"]), (a_builder, ["config"]),
        (lambda config: seen(config), ["config"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
async def test_each_signature_gets_its_arguments(
    factory: Callable[..., Any], arguments: list[str]
) -> None:
    async with Factory("g", factory).open(use(model="m"), STORE) as graph:
        assert await graph.ainvoke({}) == {"text": "ran"}
    received = ["more" if value == {} else kind(value) for value in ARGUMENTS]
    assert received == arguments


@pytest.mark.parametrize(
    ("factory", "surplus"),
    [
        (lambda config, store: None, "store"), (lambda a, b: None, "b"),
        (lambda config, runtime, more: None, "runtime, more"),
    ],
)  # fmt: skip
def test_a_factory_with_unsupported_parameters_is_rejected(
    factory: Callable[..., Any], surplus: str
) -> None:
    with pytest.raises(SettingError, match=f"there is no value for {surplus}"):
        Factory("g", factory)


# ── Arguments ───────────────────────────────────────────────────────────────────────────────


async def runtime_of(factory: Callable[..., Any], used: Use) -> Any:
    async with Factory("g", factory).open(used, STORE):
        return ARGUMENTS.pop()


async def test_a_run_has_an_execution_runtime() -> None:
    runtime = await runtime_of(a_runtime, use(model="m"))
    assert runtime.access_context == "threads.create_run"
    assert runtime.store is STORE
    assert runtime.user is None
    with pytest.raises(PermissionError):
        runtime.ensure_user()
    assert runtime.execution_runtime is runtime
    assert runtime.execution_runtime.context == {"model": "m"}


@pytest.mark.parametrize("access", ["threads.read", "threads.update", "assistants.read"])
async def test_a_request_without_a_run_has_no_execution_runtime(access: str) -> None:
    runtime = await runtime_of(a_runtime, use(access))
    assert runtime.access_context == access
    assert runtime.store is STORE
    assert runtime.execution_runtime is None
    assert not hasattr(runtime, "context")


@pytest.mark.parametrize(
    ("schema", "context"),
    [(Wants, Wants("m", 1)), (Model, Model(model="m")), (Loose, {"model": "m", "else": 1})],
)
async def test_the_context_has_the_annotated_class(schema: Any, context: Any) -> None:
    def factory(rt: Any) -> Graph:
        return seen(rt)

    factory.__annotations__["rt"] = ServerRuntime[schema]
    runtime = await runtime_of(factory, use(model="m", **{"else": 1}))
    assert runtime.execution_runtime.context == context
    empty = await runtime_of(factory, use())
    assert empty.execution_runtime.context == {}
    if schema is not Loose:
        with pytest.raises((TypeError, ValueError), match="model"):
            await runtime_of(factory, use(size=1))


async def test_a_factory_changes_only_its_copy_of_the_config() -> None:
    def factory(config: RunnableConfig) -> Graph:
        config["configurable"]["mode"] = "changed"
        config["tags"] = []
        return GRAPH

    arguments = use()
    async with Factory("g", factory).open(arguments, STORE):
        assert arguments.config == use().config


async def test_get_config_and_get_store_are_available_only_in_factories() -> None:
    async def factory() -> Graph:
        return seen(get_config()["configurable"]["mode"], get_store(), get_runtime().context)

    async with Factory("g", factory).open(use(model="m"), STORE):
        assert ARGUMENTS == ["strict", STORE, {"model": "m"}]
        with pytest.raises(RuntimeError):
            get_config()


# ── What it raises ──────────────────────────────────────────────────────────────────────────


async def test_a_context_manager_factory_does_not_swallow_the_runs_exception() -> None:
    @contextlib.asynccontextmanager
    async def factory() -> AsyncIterator[Graph]:
        with contextlib.suppress(Exception):
            yield GRAPH
        ARGUMENTS.append("closed")

    with pytest.raises(ZeroDivisionError):
        async with Factory("g", factory).open(use(), STORE):
            raise ZeroDivisionError
    assert ARGUMENTS == ["closed"]


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (lambda: "text", "returned a str, not a graph."),
        (lambda: (_ for _ in ()), "decorate it with"),
    ],
)
async def test_a_factory_that_returns_no_graph_is_rejected(
    returned: Callable[[], Any], problem: str
) -> None:
    with pytest.raises(TypeError, match=problem):
        async with Factory("g", returned).open(use(), STORE):
            pass
