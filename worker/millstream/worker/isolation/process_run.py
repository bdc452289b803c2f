"""One attempt's graph, executed in a process of its own: what graph_run.GraphRun is in this one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from millstream.shared.scripts import Claim
from millstream.worker.execution import STOP_GRACE, CrashError, Execution, Unsent
from millstream.worker.final_record import ExitKind
from millstream.worker.graph_result import GraphResult
from millstream.worker.isolation.messages import Ended, Execute, Message, Stop
from millstream.worker.isolation.processes import ChildProcess, Processes, StartError
from millstream.worker.stop_reason import StopReason

log = logging.getLogger(__name__)

# s beyond what the graph may take to stop; after it the process is killed, whatever it does.
KILL_GRACE: Final = STOP_GRACE + 1.0
PAUSE: Final = 1.0  # s before a run is handed back because no process could be started for it

Result = TypeVar("Result")


class ProcessRun(Execution):
    """The graph of one attempt, executed in another process.

    The worker keeps the lease, renews it and writes the end; the process streams the events and stores
    the checkpoints, under the same fence.

    Args:
        job_timeout: seconds that the graph may take.
        make_room: called first, to have the worker execute nothing else.
        unused: whether the process must have executed nothing before (level.needs_unused_process).
    """

    def __init__(
        self,
        claim: Claim,
        processes: Processes,
        *,
        job_timeout: float,
        make_room: Callable[[], Coroutine[Any, Any, None]] | None = None,
        unused: bool = False,
    ) -> None:
        """Starts no process yet."""
        super().__init__(claim)
        self._processes = processes
        self._job_timeout = job_timeout
        self._make_room = make_room
        self._unused = unused
        self._child: ChildProcess | None = None
        self._unsent = Unsent([], 0, claim.index, False)

    @property
    def time_limit(self) -> float:
        """Seconds in which `run` has ended, unless the event loop is held up: as long as the graph may
        take, and as long again for a process to be free."""
        return 2 * self._job_timeout

    def _on_stop(self, reason: StopReason) -> None:
        if self._child is not None:
            self._child.send(Stop(reason))

    async def close(self) -> Unsent:
        """Returns what the process could not send any more; a repeated call returns no words again."""
        unsent = self._unsent
        self._unsent = Unsent([], unsent.batches, unsent.index, unsent.refused)
        return unsent

    async def run(self) -> GraphResult:
        """Executes the graph until it ends, is stopped, or its time is up.

        Raises CrashError if its process dies.
        """
        try:
            if self._make_room is not None:
                await self._unless_stopped(self._make_room())
            child = await self._unless_stopped(self._processes.take(unused=self._unused))
        except StartError as error:
            log.error("%r is handed back, as no process can be started for it: %s", self, error)
            await self._unless_stopped(asyncio.sleep(PAUSE))
            self.stop(StopReason.NO_PROCESS)
            return GraphResult(how=ExitKind.CANCELLED)
        if child is None:
            return GraphResult(how=ExitKind.CANCELLED)
        if self._stop.is_set():
            self._processes.give_back(child, is_idle=True)
            return GraphResult(how=ExitKind.CANCELLED)
        self._child = child
        ended = None
        try:
            child.send(Execute(self.claim))
            said = await self._answer(child)
            if isinstance(said, GraphResult):
                return said
            ended = said
        finally:
            self._child = None
            self._processes.give_back(child, is_idle=ended is not None and ended.is_idle)
        if self.reason is not StopReason.LOST and ended.reason is not None:
            self.reason = ended.reason
        self._unsent = Unsent(ended.words, ended.batches, ended.index, ended.refused)
        return ended.ending

    async def _answer(self, child: ChildProcess) -> Ended | GraphResult:
        """Returns what the process says of the graph's end, or the end of a graph that does not stop.

        Raises CrashError.
        """
        answer: asyncio.Task[Message | None] = asyncio.create_task(child.receive())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            limit = (
                self._job_timeout + KILL_GRACE
            )  # the process counts by itself: this is the last resort
            await asyncio.wait(
                {answer, stopped}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            if not answer.done() and stopped.done():
                await asyncio.wait({answer}, timeout=KILL_GRACE)
            if not answer.done():
                log.warning("%r does not stop; its process is ended", self)
                return GraphResult(how=ExitKind.CANCELLED if stopped.done() else ExitKind.TIMED_OUT)
            said = answer.result()
            if isinstance(said, Ended):
                return said
            crash = await child.died()
            log.warning("%r: its process %s", self, crash)
            raise CrashError(crash)
        finally:
            answer.cancel()
            stopped.cancel()

    async def _unless_stopped(self, do: Awaitable[Result]) -> Result | None:
        """Returns what `do` gives, or None, and cancels it, if the run is stopped first."""
        doing = asyncio.ensure_future(do)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            doing.cancel()
            await asyncio.wait({doing})
            if not doing.cancelled() and doing.exception() is None:
                return doing.result()
            return None
        finally:
            stopped.cancel()
