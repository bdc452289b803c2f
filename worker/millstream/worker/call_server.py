"""Answers the API's questions that need a graph, beside the runs and never behind them."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from millstream.shared import calls
from millstream.shared.errors import MillstreamError
from millstream.shared.redis import OUTAGE_ERRORS, Client, OutageLog, to_unavailable
from millstream.shared.wire import Call, Reply
from millstream.worker.answers import VERBS, AnswerContext
from millstream.worker.failure import SELF_CANCELLED, error_of, is_cancelled, summary, traceback_of

log = logging.getLogger(__name__)

AT_ONCE: Final = 8  # questions that one worker answers at a time
WAIT: Final = 5.0  # s that the queue's connection blocks


class CallServer:
    """The queues in which one worker process answers: one for each of its graphs, and the store's."""

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
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._outages = OutageLog(log, "The queues of calls")
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Takes questions until it is cancelled."""
        while True:
            await self._slots.acquire()
            try:
                call = await calls.take_call(self._redis, self._blocking, self._queues, WAIT)
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
                reply = Reply(body=await verb(self._context, call))
        except MillstreamError as error:
            reply = _refusal(error)
        except OUTAGE_ERRORS as error:
            log.warning("call %s: Redis is away or takes no writes: %s", call.verb, error)
            reply = _refusal(to_unavailable(error))
        except asyncio.CancelledError as error:
            if is_cancelled(error):
                raise
            reply = Reply(error=f"Graph {call.graph_id!r}: {SELF_CANCELLED}", kind="graph")
        except BaseException as error:  # noqa: BLE001 - a SystemExit of the project's code too
            reply = _failure(call, error)
        try:
            await calls.send_reply(self._redis, call, reply)
        except OUTAGE_ERRORS as error:
            log.warning("an answer could not be sent: %s", error)


def _refusal(error: MillstreamError) -> Reply:
    kinds = (kind for kind, refusal in calls.KINDS.items() if isinstance(error, refusal))
    return Reply(error=str(error), kind=next(kinds, "failed"))


def _failure(call: Call, error: BaseException) -> Reply:
    """Returns the answer for what the code of a graph raised (a schema that refuses its own state, say),
    or that of a store; it ends its own call alone."""
    log.warning(
        "the call %r of %s failed: %s\n%s",
        call.verb,
        f"graph {call.graph_id!r}" if call.graph_id else "the store",
        summary(error),
        traceback_of(error),
    )
    told = error_of(error)
    said = f"{told['error']}: {told['message']}"
    if not call.graph_id:
        return Reply(error=f"The store failed: {said}", kind="failed")
    return Reply(error=f"Graph {call.graph_id!r} failed when asked: {said}", kind="graph")
