"""Executes the graph of one attempt in another process; graph_run.GraphRun does so in this one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from millstream.shared.child_process import StartError
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.scripts import Claim
from millstream.shared.tracing.tracer import UNTRACED, RunTracer
from millstream.worker.execution import STOP_GRACE, CrashError, Execution, Unsent
from millstream.worker.final_record import ExitKind
from millstream.worker.graph_result import GraphResult
from millstream.worker.isolation.messages import Ended, Execute, Message, Report, Stop
from millstream.worker.isolation.processes import Processes, RunProcess
from millstream.worker.isolation.reports import forward
from millstream.worker.stop_reason import StopReason

log = logging.getLogger(__name__)

# s after a stop, or after the time limit, until the process is killed.
KILL_GRACE: Final = STOP_GRACE + 1.0
PAUSE: Final = 1.0  # s before a run is handed back for which no process could be started

Result = TypeVar("Result")


class ProcessRun(Execution):
    """The graph of one attempt, executed in another process.

    The worker renews the lease and writes the end. The process appends the events and stores the checkpoints, under
    the same fence.

    Args:
        job_timeout: seconds that the graph may take.
        make_room: called first; returns once the worker executes no other run.
        unused: whether the process must have executed no run before (level.needs_unused_process).
        tracer: gives the span that the graph's spans are below.
        observer: receives the reports of the process.
    """

    def __init__(
        self,
        claim: Claim,
        processes: Processes,
        *,
        job_timeout: float,
        make_room: Callable[[], Coroutine[Any, Any, None]] | None = None,
        unused: bool = False,
        tracer: RunTracer = UNTRACED,
        observer: RunObserver = UNOBSERVED,
    ) -> None:
        """Does not start a process."""
        super().__init__(claim)
        self._processes = processes
        self._job_timeout = job_timeout
        self._make_room = make_room
        self._unused = unused
        self._tracer = tracer
        self._observer = observer
        self._child: RunProcess | None = None
        self._unsent = Unsent([], 0, claim.index, False)

    @property
    def time_limit(self) -> float:
        """Seconds in which `run` ends, unless the event loop is blocked.

        The graph may take half of it, and the wait for a free process the other half.
        """
        return 2 * self._job_timeout

    def _on_stop(self, reason: StopReason) -> None:
        if self._child is not None:
            self._child.send(Stop(reason))

    async def close(self) -> Unsent:
        """Returns the events that the process has not sent; a repeated call returns no items."""
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
            log.error("%r is handed back: no process can be started for it: %s", self, error)
            await self._unless_stopped(asyncio.sleep(PAUSE))
            self.stop(StopReason.NO_PROCESS)
            return GraphResult(kind=ExitKind.CANCELLED)
        if child is None:
            return GraphResult(kind=ExitKind.CANCELLED)
        if self._stop.is_set():
            self._processes.give_back(child, is_idle=True)
            return GraphResult(kind=ExitKind.CANCELLED)
        self._child = child
        ended = None
        try:
            observed = self._observer is not UNOBSERVED
            child.send(Execute(self.claim, self._tracer.current(), observed))
            outcome = await self._wait_for_end(child)
            if isinstance(outcome, GraphResult):
                return outcome
            ended = outcome
        finally:
            self._child = None
            self._processes.give_back(child, is_idle=ended is not None and ended.is_idle)
        if self.reason is not StopReason.LOST and ended.reason is not None:
            self.reason = ended.reason
        self._unsent = Unsent(ended.items, ended.batches, ended.index, ended.refused)
        return ended.result

    async def _wait_for_end(self, child: RunProcess) -> Ended | GraphResult:
        """Returns the message of the child process, or the result of a graph that does not stop.

        Raises CrashError if the process dies.
        """
        receiving: asyncio.Task[Message | None] = asyncio.create_task(self._receive(child))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            # The child enforces the time limit itself; this limit applies if it fails to.
            limit = self._job_timeout + KILL_GRACE
            await asyncio.wait(
                {receiving, stopped}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            if not receiving.done() and stopped.done():
                await asyncio.wait({receiving}, timeout=KILL_GRACE)
            if not receiving.done():
                log.warning("%r does not stop; its process is ended", self)
                kind = ExitKind.CANCELLED if stopped.done() else ExitKind.TIMED_OUT
                return GraphResult(kind=kind)
            message = receiving.result()
            if isinstance(message, Ended):
                return message
            crash = await child.describe_end()
            log.warning("%r: its process %s", self, crash)
            raise CrashError(crash)
        finally:
            receiving.cancel()
            stopped.cancel()

    async def _receive(self, child: RunProcess) -> Message | None:
        """Returns the next message that is no report; None once the process has ended."""
        while isinstance(message := await child.receive(), Report):
            forward(message, self._observer)
        return message

    async def _unless_stopped(self, operation: Awaitable[Result]) -> Result | None:
        """Returns the operation's result. If the run is stopped first, cancels the operation and returns None."""
        task = asyncio.ensure_future(operation)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is None:
                return task.result()
            return None
        finally:
            stopped.cancel()
