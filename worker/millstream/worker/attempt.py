"""The story of one attempt of a run, top to bottom: lease, execution, end."""

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from millstream.shared import runs, scripts
from millstream.shared.errors import FencedError
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.redis import Client
from millstream.shared.redis.retry import retry_while_unavailable
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Batch, Claim
from millstream.shared.settings import Settings
from millstream.worker.checkpoints.checkpointing import RollbackUnsupportedError
from millstream.worker.encode import encode
from millstream.worker.execution import CrashError, Execution, Unsent
from millstream.worker.failure import error_of
from millstream.worker.final_record import ExitKind, FinalRecord, exhausted, final_record
from millstream.worker.graph_result import GraphResult
from millstream.worker.graph_run import GraphContext, GraphRun, without_running
from millstream.worker.isolation.processes import Processes
from millstream.worker.leases.availability import RedisAvailability
from millstream.worker.leases.heartbeat import Heartbeat
from millstream.worker.stop_reason import StopReason

log = logging.getLogger(__name__)

ELSEWHERE: Final = (
    "another worker goes on with it. If that happens often, this worker has too much to do (fewer runs: "
    "N_JOBS_PER_WORKER) or leases are short (LEASE_SECS)."
)


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What an attempt works with; one set a worker process."""

    redis: Client
    graphs: GraphContext
    processes: Processes
    heartbeat: Heartbeat
    availability: RedisAvailability
    settings: Settings
    observer: RunObserver = UNOBSERVED


class Attempt:
    """A claimed run while this worker holds it."""

    def __init__(
        self,
        claim: Claim,
        context: WorkerContext,
        *,
        since: float,
        execution: Execution | None = None,
    ) -> None:
        """Without `execution` the graph is executed in this process."""
        self.claim = claim
        self._since = since  # monotonic time, right before the claim was sent
        self.context = context
        self._loop = asyncio.get_running_loop()
        self._execution: Execution = execution or GraphRun(claim, context.graphs)
        self._unsent: list[str | bytes] = []  # events that no batch took with it
        self._rolled_back = False  # rolled back: its thread is as it was before

    def __repr__(self) -> str:
        return self.claim.description

    def stop(self, reason: StopReason) -> None:
        """Has the graph stopped; of several reasons see `StopReason.over`."""
        self._execution.stop(reason)

    def _check(self) -> None:
        """Raises FencedError once the lease is not ours any more. A drain does not stop the end of a run."""
        reason = self._execution.reason
        if reason is not None and reason.is_lost:
            raise FencedError(f"{self.claim.job} is held by another worker, or may be")

    async def execute(self) -> None:
        """Executes the run and writes its end; never raises.

        Nothing is written when the lease is lost: the run is another's by then.
        """
        claim, context = self.claim, self.context
        context.heartbeat.hold(
            claim,
            lambda reason: self._loop.call_soon_threadsafe(self.stop, reason),
            since=self._since,
            at_most=context.settings.lease_policy.renewed_for(self._execution.time_limit),
        )
        try:
            if claim.cancel is not None:
                ending = GraphResult(how=ExitKind.CANCELLED)
            elif claim.exhausted:
                error = exhausted(claim.attempt - 1, claim.crash)
                ending = GraphResult(how=ExitKind.EXHAUSTED, error=error)
            else:
                ending = await self._execution.run()
            if self._execution.reason is StopReason.LOST:
                self._on_lost("and stops here")
            elif self._execution.is_given_up and ending.how is ExitKind.CANCELLED:
                await retry_while_unavailable(repr(self), self._hand_back)
            else:
                if ending.waits is None and not ending.refused:
                    ending = await without_running(ending, claim, self.context.graphs, self._check)
                await self._finish(ending)
        except CrashError as crash:
            await self._hand_back_crashed(str(crash))
        except FencedError:
            self._on_lost("before its end was written")
        except asyncio.CancelledError:
            raise
        except BaseException:  # whatever it is, the worker and its other runs go on
            log.exception(
                "%r failed in the server's own code; a worker takes it again when its lease has run out",
                self,
            )
        finally:
            context.heartbeat.release(claim)
            await self._execution.close()

    def _on_lost(self, when: str) -> None:
        log.warning("%r lost its lease %s: %s", self, when, ELSEWHERE)
        self.context.observer.lease_lost(self.claim)

    async def _close_stream(self) -> Unsent:
        """Returns the events that are still unsent; raises FencedError if a batch of them was
        refused, for an end behind it would hide the gap."""
        unsent = await self._execution.close()
        if unsent.refused:
            raise FencedError(f"events of {self.claim.job} were refused")
        return unsent

    async def _hand_back_crashed(self, crash: str) -> None:
        """Gives the run up; its next claim says whether it is tried again."""
        redis, claim = self.context.redis, self.claim
        await retry_while_unavailable(
            repr(self), lambda: scripts.hand_back(redis, claim, crash=crash)
        )

    async def _hand_back(self) -> None:
        """Gives the run up, with all the events that the graph has produced so far.

        May be called again after it failed.
        """
        unsent = await self._close_stream()
        self._unsent += unsent.words
        if self._unsent:
            batch = Batch(self.claim, unsent.batches + 1, self._unsent, unsent.index)
            most = self.context.settings.stream_max_events
            await scripts.append(self.context.redis, [batch], max_events=most)
        if await scripts.hand_back(self.context.redis, self.claim):
            log.info("%r is handed back", self)
            self.context.observer.handed_back(self.claim)

    async def _roll_back(self) -> bool:
        """Undoes what the run stored, if its cancel asks for that.

        Raises RollbackUnsupportedError if the checkpointer can't.
        """
        spec, redis = self.claim.spec, self.context.redis
        action = await runs.cancel_action(redis, spec.thread_id, spec.run_id)
        if action is CancelAction.ROLLBACK:
            await self.context.graphs.checkpointing.roll_back(self.claim)
            self._rolled_back = True
        return self._rolled_back

    async def _finish(self, ending: GraphResult) -> None:
        """Writes the end; a cancel that came first turns it into the end of a cancelled run."""
        settings = self.context.settings
        ending = ending.bounded(settings.max_event)
        unsent = await self._close_stream()
        for how in (ending.how, ExitKind.CANCELLED):
            refusal = None
            try:
                if how is ExitKind.CANCELLED and await retry_while_unavailable(
                    repr(self), self._roll_back
                ):
                    ending = GraphResult(how=ExitKind.CANCELLED)
            except RollbackUnsupportedError as reason:
                log.error("%r can't be rolled back: %s", self, reason)
                refusal = error_of(reason)
            result = final_record(
                how, ending.error, timeout=settings.job_timeout, waits=ending.waits
            )
            if refusal is not None:  # who asked for it must not believe that it was done
                result = replace(result, error=refusal, shown=True)
            error = encode(result.error) if result.error else b""
            last: list[str | bytes] = ["error", error] if result.shown else []
            if how is ExitKind.PAUSED:
                last += ending.asked
            write = partial(
                scripts.finish,
                self.context.redis,
                self.claim.spec,
                result.cause,
                fence=self.claim.fence,
                stream_ttl=settings.stream_ttl,
                thread=None
                if self._rolled_back or ending.refused
                else _thread_fields(result, ending, error),
                events=[*unsent.words, *last],
                after=unsent.index,
                output=_output(result, ending, error),
                error=error,
            )
            status = await retry_while_unavailable(repr(self), write)
            if status is not None:
                took = time.monotonic() - self._since
                self.context.observer.ended(self.claim, status, took)
            if status is not None or result.cause is Cause.CANCELLED:
                return


def _thread_fields(
    result: FinalRecord, ending: GraphResult, error: bytes
) -> dict[str, str | bytes]:
    fields: dict[str, str | bytes] = {"idle_status": result.idle_status.value, "error": error}
    if ending.interrupts is not None:
        fields["interrupts"] = ending.interrupts
    if ending.values is not None:
        fields["values"] = ending.values
        fields["output"] = ending.hidden_output
    return fields


def _output(result: FinalRecord, ending: GraphResult, error: bytes) -> bytes:
    """Returns the JSON that wait and join answer with."""
    if result.shown:
        return b'{"__error__":' + error + b"}"
    if ending.pause is not None and result.cause is Cause.SUCCEEDED:
        return ending.pause
    return ending.output or ending.values or b""
