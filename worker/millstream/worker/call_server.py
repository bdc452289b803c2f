"""Executes the API's calls that need a graph or the store. Calls never wait for runs."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from millstream.shared import calls, logs
from millstream.shared.errors import MillstreamError
from millstream.shared.own_api import CALLER
from millstream.shared.redis import OUTAGE_ERRORS, Client, OutageLog, to_unavailable
from millstream.shared.rules.reserved_names import RUN_HEADER
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.structs import open_call
from millstream.shared.wire import Call, Reply
from millstream.worker.answers import VERBS, AnswerContext
from millstream.worker.client_errors import show_cause
from millstream.worker.failure import (
    SELF_CANCELLED,
    is_cancelled,
    summarise_error,
    traceback_of,
)

log = logging.getLogger(__name__)

MAX_CONCURRENT: Final = 8  # calls of one worker
WAIT_SECONDS: Final = 5.0  # for which a read of the queues blocks


class CallServer:
    """Executes the calls of one worker's call queues: one queue for each graph, and the store's."""

    def __init__(
        self,
        redis: Client,
        blocking: Client,
        context: AnswerContext,
        queues: Sequence[str],
    ) -> None:
        """`blocking` is a client whose connections may wait without a timeout."""
        self._redis = redis
        self._blocking = blocking
        self._context = context
        self._queues = queues
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._outages = OutageLog(log, "The queues of calls")
        self._executing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Takes and executes calls until it is cancelled."""
        while True:
            await self._slots.acquire()
            try:
                call = await calls.take_call(
                    self._redis, self._blocking, self._queues, WAIT_SECONDS
                )
                self._outages.recovered()
            except Exception as error:  # noqa: BLE001 - it is logged
                await self._outages.wait_after(error)
                call = None
            except BaseException:
                self._slots.release()
                raise
            if call is None:
                self._slots.release()
                continue
            task = asyncio.create_task(self._execute(call), name=f"call {call.verb}")
            self._executing.add(task)
            task.add_done_callback(self._on_executed)

    def _on_executed(self, task: "asyncio.Task[None]") -> None:
        self._executing.discard(task)
        self._slots.release()

    async def _execute(self, call: Call) -> None:
        logs.begin(graph_id=call.graph_id, request_id=call.request_id)
        try:
            call = open_call(key_ring_of(self._redis), call)
            logs.bind(thread_id=call.arguments.get("thread_id"))
            if token := calls.token_of(call):
                CALLER.set({RUN_HEADER: token})  # for this task and all tasks that the graph starts
            verb = VERBS.get(call.verb)
            if verb is None:
                reply = Reply(error=f"This worker does not know the call {call.verb!r}.")
            else:
                reply = Reply(body=await verb(self._context, call))
        except MillstreamError as error:
            reply = _error_reply(error)
        except OUTAGE_ERRORS as error:
            log.warning("the call %r failed, as Redis is unavailable: %s", call.verb, error)
            reply = _error_reply(to_unavailable(error))
        except asyncio.CancelledError as error:
            if is_cancelled(error):
                raise
            reply = Reply(error=f"Graph {call.graph_id!r}: {SELF_CANCELLED}", kind="graph")
        except BaseException as error:  # noqa: BLE001 - a SystemExit of the project's code too
            reply = _failure_reply(call, error)
        try:
            await calls.send_reply(self._redis, call, reply)
        except OUTAGE_ERRORS as error:
            log.warning("the reply to the call %r could not be sent: %s", call.verb, error)


def _error_reply(error: MillstreamError) -> Reply:
    kinds = (kind for kind, error_class in calls.KINDS.items() if isinstance(error, error_class))
    return Reply(error=str(error), kind=next(kinds, "failed"))


def _failure_reply(call: Call, error: BaseException) -> Reply:
    """Returns the reply for an exception of a graph's or a store's code, such as a schema that rejects its state."""
    log.warning(
        "the call %r of %s failed: %s",
        call.verb,
        f"graph {call.graph_id!r}" if call.graph_id else "the store",
        summarise_error(error),
        extra={"exception": traceback_of(error)},
    )
    if not call.graph_id:
        return Reply(error=show_cause("The store failed", error), kind="failed")
    failure = f"Graph {call.graph_id!r} failed in the call"
    return Reply(error=show_cause(failure, error), kind="graph")
