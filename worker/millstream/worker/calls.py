"""Answers the API's questions that need a graph, beside the runs and never behind them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from millstream.shared import calls
from millstream.shared.errors import InvalidError, NotFoundError
from millstream.shared.redis import AWAY, REFUSING, Client
from millstream.shared.wire import Call, Reply
from millstream.worker.checkpoints.saver import FencedSaver
from millstream.worker.encode import encode
from millstream.worker.graphs import Graph, GraphRegistry

log = logging.getLogger(__name__)

AT_ONCE: Final = 8  # questions that one worker answers at a time
WAIT: Final = 5.0  # s that the lane's connection blocks


class CallLane:
    """The lane of one worker process."""

    def __init__(
        self,
        redis: Client,
        blocking: Client,
        registry: GraphRegistry,
        saver: FencedSaver,
        queue: str,
    ) -> None:
        self._redis = redis
        self._blocking = blocking
        self._registry = registry
        self._saver = saver
        self._queue = queue
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Takes questions until it is cancelled."""
        while True:
            await self._slots.acquire()
            try:
                call = await calls.next_call(self._redis, self._blocking, self._queue, WAIT)
            except (*AWAY, *REFUSING) as error:
                log.warning("Redis gives no calls, asking again soon: %s", error)
                await asyncio.sleep(0.2)
                call = None
            except Exception:
                log.exception("the lane of calls stumbled and goes on")
                await asyncio.sleep(0.2)
                call = None
            except BaseException:
                self._slots.release()
                raise
            if call is None:
                self._slots.release()
                continue
            task = asyncio.create_task(self._answer(call), name=f"call {call.verb}")
            self._answering.add(task)
            task.add_done_callback(self._answered)

    def _answered(self, task: "asyncio.Task[None]") -> None:
        self._answering.discard(task)
        self._slots.release()

    async def _answer(self, call: Call) -> None:
        try:
            verb = VERBS.get(call.verb)
            if verb is None:
                reply = Reply(error=f"This worker does not know the call {call.verb!r}.")
            else:
                reply = Reply(body=await verb(self._registry, self._saver, call))
        except NotFoundError as error:
            reply = Reply(error=str(error), kind="not_found")
        except InvalidError as error:
            reply = Reply(error=str(error), kind="invalid")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            reply = Reply(error="The graph cancelled itself.", kind="failed")
        except Exception as error:
            log.exception("call %s failed", call.verb)
            reply = Reply(error=f"{type(error).__name__}: {error}", kind="failed")
        try:
            await calls.answer(self._redis, call, reply)
        except (*AWAY, *REFUSING) as error:
            log.warning("an answer could not be sent: %s", error)


async def _state(registry: GraphRegistry, saver: FencedSaver, call: Call) -> bytes:
    """`state`: a thread's state. Arguments: thread_id, subgraphs."""
    thread_id = call.arguments["thread_id"]
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    async with registry.open(call.graph_id, config, saver) as graph:
        snapshot = await _snapshot(graph, config, subgraphs=bool(call.arguments["subgraphs"]))
        return encode(show_state(snapshot, thread_id))


async def _snapshot(graph: Graph, config: RunnableConfig, *, subgraphs: bool) -> StateSnapshot:
    return await graph.aget_state(config, subgraphs=subgraphs)


VERBS: Final[dict[str, Callable[[GraphRegistry, FencedSaver, Call], Awaitable[bytes]]]] = {
    "state": _state
}


def show_state(snapshot: StateSnapshot, thread_id: str) -> dict[str, Any]:
    """Returns a `ThreadState` as the API shows it. Source: the reference server's answers."""
    checkpoint = _place(snapshot.config, thread_id)
    parent = _place(snapshot.parent_config, thread_id)
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "tasks": [
            {
                "id": task.id,
                "name": task.name,
                "path": task.path,
                "error": _error(task.error),
                "interrupts": [_interrupt(i) for i in task.interrupts],
                "checkpoint": _task_place(task.state, thread_id),
                "state": show_state(task.state, thread_id)
                if isinstance(task.state, StateSnapshot)
                else None,
                "result": task.result,
            }
            for task in snapshot.tasks
        ],
        "metadata": snapshot.metadata,
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [_interrupt(i) for i in snapshot.interrupts],
        "checkpoint_id": checkpoint["checkpoint_id"] if checkpoint else None,
        "parent_checkpoint_id": parent["checkpoint_id"] if parent else None,
    }


def _error(error: Any) -> str | None:
    """Returns a task's error as text; what comes from a checkpoint is the repr already."""
    return error if error is None or isinstance(error, str) else repr(error)


def _interrupt(interrupt: Any) -> dict[str, Any]:
    return {"id": interrupt.id, "value": interrupt.value}


def _place(config: Any, thread_id: str) -> dict[str, Any] | None:
    """Returns which checkpoint a config names, None if it names none."""
    configurable = (config or {}).get("configurable", {})
    checkpoint_id = configurable.get("checkpoint_id")
    if checkpoint_id is None:
        return None
    return {
        "checkpoint_id": checkpoint_id,
        "thread_id": thread_id,
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }


def _task_place(state: Any, thread_id: str) -> dict[str, Any] | None:
    """Returns where a subgraph's state lies: a task's state is a snapshot, or only its config."""
    if state is None:
        return None
    if isinstance(state, StateSnapshot):
        return _place(state.config, thread_id)
    configurable = state.get("configurable", {})
    return {
        "thread_id": configurable.get("thread_id", thread_id),
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }
