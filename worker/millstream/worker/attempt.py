"""One attempt of a run, from its claim to its end: lease, execution, final records."""

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
from millstream.shared.rules.lifecycle import Cause, RunStatus
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Batch, Claim
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import NO_SPAN, UNTRACED, RunTracer
from millstream.worker.checkpoints.checkpointing import RollbackUnsupportedError
from millstream.worker.encode import encode
from millstream.worker.execution import CrashError, Execution, Unsent
from millstream.worker.failure import describe_error
from millstream.worker.final_record import ExitKind, FinalRecord, exhausted_error, final_record
from millstream.worker.graph_result import GraphResult
from millstream.worker.graph_run import GraphContext, GraphRun, add_state_without_running
from millstream.worker.isolation.processes import Processes
from millstream.worker.leases.availability import RedisAvailability
from millstream.worker.leases.heartbeat import Heartbeat
from millstream.worker.stop_reason import StopReason

log = logging.getLogger(__name__)

# In a span: the run's status, or how the attempt ended before the run did.
OUTCOME: Final = "millstream.run.outcome"
LOST_LEASE_ADVICE: Final = (
    "another worker continues it. If this happens often, give the worker fewer runs (N_JOBS_PER_WORKER) or "
    "longer leases (LEASE_SECS)."
)


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The parts of a worker that attempts use; one object per process."""

    redis: Client
    graphs: GraphContext
    processes: Processes
    heartbeat: Heartbeat
    availability: RedisAvailability
    settings: Settings
    observer: RunObserver = UNOBSERVED
    tracer: RunTracer = UNTRACED


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
        """Starts nothing.

        Args:
            claim: the claim of the run.
            context: the worker's parts.
            since: the monotonic time right before the claim was sent.
            execution: executes the graph; by default this process does.
        """
        self.claim = claim
        self.since = since
        self.context = context
        self._loop = asyncio.get_running_loop()
        self._execution: Execution = execution or GraphRun(claim, context.graphs)
        self._unsent: list[str | bytes] = []  # events for the batch of a hand-back
        self._span = NO_SPAN
        self._rolled_back = False  # the thread has the state from before the run
        self._action: CancelAction | None = None  # of the run's cancel

    def __repr__(self) -> str:
        return self.claim.description

    def stop(self, reason: StopReason) -> None:
        """Stops the graph; see `Execution.stop`."""
        self._execution.stop(reason)

    def _check(self) -> None:
        """Raises FencedError once this worker has lost the lease. In a drain the end of a run is still written."""
        reason = self._execution.reason
        if reason is not None and reason.is_lost:
            raise FencedError(f"another worker holds {self.claim.job}, or may hold it")

    async def execute(self) -> None:
        """Executes the run and writes its end. Raises nothing but CancelledError.

        It writes nothing once the lease is lost, as another worker may hold the run.
        """
        with self.context.tracer.attempt(self.claim) as self._span:
            await self._execute()

    async def _execute(self) -> None:
        claim, context = self.claim, self.context
        context.heartbeat.hold(
            claim,
            lambda reason: self._loop.call_soon_threadsafe(self.stop, reason),
            since=self.since,
            max_seconds=context.settings.lease_policy.renewed_for(self._execution.time_limit),
        )
        try:
            if claim.cancel is not None:
                result = GraphResult(kind=ExitKind.CANCELLED)
            elif claim.exhausted:
                error = exhausted_error(claim.attempt - 1, claim.crash)
                result = GraphResult(kind=ExitKind.EXHAUSTED, error=error)
            else:
                result = await self._execution.run()
            if self._execution.reason is StopReason.LOST:
                self._report_lost("and stops here")
            elif self._execution.is_given_up and result.kind is ExitKind.CANCELLED:
                await retry_while_unavailable(repr(self), self._hand_back)
            else:
                if result.has_next is None and not result.refused:
                    result = await add_state_without_running(
                        result, claim, self.context.graphs, self._check
                    )
                await self._finish(result)
        except CrashError as crash:
            self._span.set(OUTCOME, "crashed")
            self._span.fail(str(crash))
            self.context.observer.crashed(self.claim)
            await self._hand_back_crashed(str(crash))
        except FencedError:
            self._report_lost("before its end was written")
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # the worker and its other runs must continue
            self._span.fail(f"{type(error).__name__} in the server's own code")
            log.exception(
                "%r failed in Millstream's own code; a worker claims it again once its lease has lapsed",
                self,
            )
        finally:
            context.heartbeat.release(claim)
            await self._execution.close()

    def _report_lost(self, when: str) -> None:
        log.warning("%r lost its lease %s: %s", self, when, LOST_LEASE_ADVICE)
        self._span.set(OUTCOME, "lease_lost")
        self._span.fail("the lease was lost")
        self.context.observer.lease_lost(self.claim)

    async def _close_stream(self) -> Unsent:
        """Returns the unsent events.

        Raises FencedError if Redis has refused a batch: an end after the missing events would hide the gap.
        """
        unsent = await self._execution.close()
        if unsent.refused:
            raise FencedError(f"events of {self.claim.job} were refused")
        return unsent

    async def _hand_back_crashed(self, crash: str) -> None:
        """Hands back the run after a crash. The next claim decides whether it is executed again."""
        redis, claim = self.context.redis, self.claim
        await retry_while_unavailable(
            repr(self), lambda: scripts.hand_back(redis, claim, crash=crash)
        )

    async def _hand_back(self) -> None:
        """Hands back the run, after it has appended all events that the graph has streamed.

        May be repeated after a failure.
        """
        unsent = await self._close_stream()
        self._unsent += unsent.items
        if self._unsent:
            batch = Batch(self.claim, unsent.batches + 1, self._unsent, unsent.index)
            max_events = self.context.settings.stream_max_events
            await scripts.append(self.context.redis, [batch], max_events=max_events)
        reason = self._execution.reason or ""
        if await scripts.hand_back(self.context.redis, self.claim, reason=reason):
            log.info("%r is handed back", self)
            self._span.set(OUTCOME, "handed_back")
            self.context.observer.handed_back(self.claim)

    async def _roll_back(self) -> bool:
        """Deletes what the run stored if its cancel has the action `rollback`; returns whether it did.

        Raises RollbackUnsupportedError if the checkpointer can't.
        """
        spec, redis = self.claim.spec, self.context.redis
        self._action = await runs.cancel_action(redis, spec.thread_id, spec.run_id)
        if self._action is CancelAction.ROLLBACK:
            await self.context.graphs.checkpointing.roll_back(self.claim)
            self._rolled_back = True
        return self._rolled_back

    async def _finish(self, result: GraphResult) -> None:
        """Writes the end of the run. If a cancel has won the race, writes the end of a cancelled run."""
        settings = self.context.settings
        result = result.limit_size(settings.max_event)
        unsent = await self._close_stream()
        for kind in (result.kind, ExitKind.CANCELLED):
            rollback_error = None
            try:
                if kind is ExitKind.CANCELLED and await retry_while_unavailable(
                    repr(self), self._roll_back
                ):
                    result = GraphResult(kind=ExitKind.CANCELLED)
            except RollbackUnsupportedError as reason:
                log.error("%r can't be rolled back: %s", self, reason)
                rollback_error = describe_error(reason)
            record = final_record(
                kind, result.error, timeout=settings.job_timeout, has_next=result.has_next
            )
            if rollback_error is not None:  # the client must learn that its rollback has failed
                record = replace(record, error=rollback_error, is_reported=True)
            error = encode(record.error) if record.error else b""
            last: list[str | bytes] = ["error", error] if record.is_reported else []
            if kind is ExitKind.PAUSED:
                last += result.input_events
            write = partial(
                scripts.finish,
                self.context.redis,
                self.claim.spec,
                record.cause,
                fence=self.claim.fence,
                stream_ttl=settings.stream_ttl,
                thread=None
                if self._rolled_back or result.refused
                else _thread_fields(record, result, error),
                events=[*unsent.items, *last],
                after=unsent.index,
                output=_output(record, result, error),
                error=error,
            )
            status = await retry_while_unavailable(repr(self), write)
            if status is not None:
                self._span.set(OUTCOME, status.value)
                if record.error:
                    self._span.fail(record.error["error"])
                self._report_end(status, record.cause, [*unsent.items, *last])
                return
            if record.cause is Cause.CANCELLED:  # no cancel has won the race, so the lease is lost
                self.context.observer.write_refused("status")
                return

    def _report_end(self, status: RunStatus, cause: Cause, events: list[str | bytes]) -> None:
        """Reports the end, whose record has this cause and which stored these last events, and `end`."""
        observer = self.context.observer
        observer.appended_at_end(len(events) // 2 + 1, sum(map(len, events)))
        if cause is Cause.CANCELLED:
            observer.cancelled(self.claim, self._action or CancelAction.INTERRUPT)
        observer.ended(self.claim, status, time.monotonic() - self.since)


def _thread_fields(
    record: FinalRecord, result: GraphResult, error: bytes
) -> dict[str, str | bytes]:
    fields: dict[str, str | bytes] = {"idle_status": record.idle_status.value, "error": error}
    if result.interrupts is not None:
        fields["interrupts"] = result.interrupts
    if result.values is not None:
        fields["values"] = result.values
        fields["output"] = result.output_field
    return fields


def _output(record: FinalRecord, result: GraphResult, error: bytes) -> bytes:
    """Returns the JSON of the responses of wait and join."""
    if record.is_reported:
        return b'{"__error__":' + error + b"}"
    if result.paused_output is not None and record.cause is Cause.SUCCEEDED:
        return result.paused_output
    return result.output or result.values or b""
