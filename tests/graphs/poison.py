"""Graphs whose code harms other runs, unless it is isolated.

| graph | does | set in `config.configurable` |
|---|---|---|
| `leave` | does what `how` names, in a node of the kind `node` (sync, async) | `how`, `node` |
| `leave_apart` | the same, with `isolation: process` | |
| `leave_early` | the same, in the factory | `how` |
"""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from behaviour import Items, note  # type: ignore[import-not-found]
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph


class PanicError(BaseException):
    """An error of an extension module: no subclass of Exception."""


class Unspeakable(BaseException):
    """Its text raises."""

    def __str__(self) -> str:
        raise SystemExit("no words")


def throw(error: BaseException) -> NoReturn:
    """Raises the error."""
    raise error


def endless(depth: int) -> int:
    """Calls itself until Python stops it."""
    return endless(depth + 1) + 1


def segfault() -> None:
    """Reads memory at address 0."""
    ctypes.string_at(0)


def hog() -> None:
    """Kills its process, as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def hold() -> None:
    """Holds the interpreter's lock for 4 s, so that no other thread runs."""
    ctypes.PyDLL(None).usleep(4_000_000)


HOW: dict[str, Callable[[], Any]] = {
    "SystemExit": lambda: sys.exit(3),
    "KeyboardInterrupt": lambda: throw(KeyboardInterrupt("no key was pressed")),
    "GeneratorExit": lambda: throw(GeneratorExit("closed")),
    "PanicError": lambda: throw(PanicError("thread 'main' panicked")),
    "BaseExceptionGroup": lambda: throw(BaseExceptionGroup("several", [SystemExit(4)])),
    "MemoryError": lambda: throw(MemoryError("none left")),
    "RecursionError": lambda: endless(0),
    "StopIteration": lambda: next(iter(())),
    "StopAsyncIteration": lambda: throw(StopAsyncIteration("over")),
    "CancelledError": lambda: throw(asyncio.CancelledError("mine")),
    "Unspeakable": lambda: throw(Unspeakable()),
    "stop the loop": lambda: asyncio.get_running_loop().stop(),
    "exit": lambda: os._exit(7),
    "segfault": segfault,
    "killed": hog,
    "hold": hold,
    "stay": lambda: time.sleep(30),
    "": lambda: None,
}


async def wait_for_gate(config: RunnableConfig) -> None:
    """Waits for the file `<log>.go`."""
    gate = Path(config.get("configurable", {})["log"] + ".go")
    while not gate.exists():  # noqa: ASYNC110, ASYNC240 - another process opens it
        await asyncio.sleep(0.01)


def leaving(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Does it in a thread of the worker."""
    note(config, "begin")
    HOW[config.get("configurable", {}).get("how", "")]()
    note(config, "end")
    return {"items": ["stayed"]}


async def leaving_async(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Does it in the worker's event loop; `wait` waits there for the file `<log>.go`."""
    if config.get("configurable", {}).get("how") == "wait":
        note(config, "begin")
        await wait_for_gate(config)
        return {"items": ["went on"]}
    return leaving(state, config)


def chosen(state: Items, config: RunnableConfig) -> str:
    """Does it in a conditional edge, or names the node that does it."""
    kind = config.get("configurable", {}).get("node", "async")
    if kind == "edge":
        leaving(state, config)
        return END
    return str(kind)


_leave = StateGraph(Items)
_leave.add_node("sync", leaving)
_leave.add_node("async", leaving_async)
_leave.add_conditional_edges(START, chosen, ["sync", "async", END])
leave = _leave.compile(name="leave")
leave_apart = leave


def leave_early(config: RunnableConfig) -> Any:
    """Does it before the graph exists."""
    HOW[config.get("configurable", {}).get("how", "")]()
    return leave
