"""Executes the graph of one attempt until it ends or is stopped, and publishes its events."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import UnknownInterruptError
from langgraph.types import Interrupt
from msgspec import structs

from millstream.shared import scripts
from millstream.shared.errors import FencedError
from millstream.shared.own_api import CALLER
from millstream.shared.redis import Client
from millstream.shared.redis.retry import retry_while_unavailable
from millstream.shared.runs.submission import without_ids
from millstream.shared.scripts import Claim
from millstream.worker.breakpoints import stopped_at_breakpoint
from millstream.worker.checkpoints.checkpointing import Checkpointing
from millstream.worker.checkpoints.unstorable import UnstorableError
from millstream.worker.client_errors import show_error
from millstream.worker.encode import encode, show_interrupt
from millstream.worker.events import EventStream
from millstream.worker.execution import STOP_GRACE, Execution, Unsent
from millstream.worker.failure import (
    SELF_CANCELLED,
    describe_error,
    is_cancelled,
    summarise_error,
    traceback_of,
)
from millstream.worker.final_record import ExitKind
from millstream.worker.graph_result import GraphResult
from millstream.worker.graphs import Graph, GraphRegistry
from millstream.worker.protocol_stream import ProtocolStream, input_requested
from millstream.worker.publish import Publisher, RunStream
from millstream.worker.request import Request, read_request, without_input
from millstream.worker.stop_reason import StopReason
from millstream.worker.thread_record import add_state, hides_state, output_of

log = logging.getLogger(__name__)

OPEN_TIMEOUT: Final = 5.0  # s in which a factory must return a graph whose state is only read


@dataclass(frozen=True, slots=True)
class GraphContext:
    """The parts of a process that executions of graphs use; one object per process."""

    redis: Client
    registry: GraphRegistry
    checkpointing: Checkpointing
    publisher: Publisher
    job_timeout: float  # s


class GraphRun(Execution):
    """The graph of one attempt, executed in this process."""

    def __init__(self, claim: Claim, context: GraphContext) -> None:
        """Executes nothing yet."""
        super().__init__(claim)
        self.is_left_behind = False  # the run has ended, but its graph does not stop
        self._context = context
        self._stream: RunStream = context.publisher.stream(
            claim, lambda: self.stop(StopReason.LOST)
        )
        self._events: EventStream | ProtocolStream | None = None
        self._unstorable: UnstorableError | None = None  # of a value that a checkpoint can't hold
        self._is_failure_logged = False
        self._graph: Graph | None = None  # set once it is open, for reads of its state

    @property
    def time_limit(self) -> float:
        """Seconds in which `run` ends, unless the event loop is blocked."""
        return self._context.job_timeout

    def _on_stop(self, reason: StopReason) -> None:
        self._stream.wake_waiters()

    def refuse(self, error: UnstorableError) -> None:
        """Ends the run with the error: see `saver.Guard`."""
        if self._unstorable is None:
            self._unstorable = error
        self._stop.set()
        self._stream.wake_waiters()

    def check(self) -> None:
        """Raises FencedError once the worker gives up the run.

        Its graph is then being stopped. A checkpoint that it stored while it fails would look like completed work.
        """
        if self.is_given_up:
            raise FencedError(f"this worker gives up {self.claim.job}: {self.reason}")

    async def before_write(self) -> None:
        """Waits until Redis has the events that precede a checkpoint.

        Raises FencedError as `check` does, and after the run's end: the run's record would not agree with the
        checkpoint.
        """
        await self._stream.wait_until_written(self.check)
        if self.is_left_behind:
            raise FencedError(f"{self.claim.job} has ended, but its graph does not stop")

    async def close(self) -> Unsent:
        """Closes the stream; see `Execution.close`."""
        items = await self._stream.close()
        stream = self._stream
        return Unsent(items, stream.batches, stream.index, stream.refused)

    async def run(self) -> GraphResult:
        """Executes the graph until it ends, is stopped, or its time is up."""
        if self._stop.is_set():
            return GraphResult(kind=ExitKind.CANCELLED)
        result = await self._run_until_stopped()
        if self.is_given_up and result.kind is ExitKind.CANCELLED:
            return result
        try:
            return await self._complete(result)
        except FencedError:
            if not self.is_given_up:
                raise
            # The worker that continues the run reads the state again.
            return GraphResult(kind=ExitKind.CANCELLED)

    async def _run_until_stopped(self) -> GraphResult:
        """Runs the graph until it ends, is stopped, or its time is up."""
        graph_run = asyncio.create_task(self._run_graph(), name=f"graph {self.claim.job}")
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait(
                {graph_run, stopped},
                timeout=self._context.job_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._unstorable is not None:  # the graph still stores earlier writes
                await asyncio.wait({graph_run}, timeout=STOP_GRACE)
        finally:
            stopped.cancel()
        if graph_run.done() and self.is_given_up:
            result = None if graph_run.cancelled() else graph_run.result()
            if result is not None and result.kind in (ExitKind.COMPLETED, ExitKind.PAUSED):
                return result
            # The graph failed at a write that was refused.
            return GraphResult(kind=ExitKind.CANCELLED)
        if graph_run.cancelled():  # by itself: the project's code raised a CancelledError
            log.warning("%r of graph %r failed: %s", self, self.claim.spec.graph_id, SELF_CANCELLED)
            error = {"error": "CancelledError", "message": SELF_CANCELLED}
            return self._result(ExitKind.RAISED, error)
        if graph_run.done():
            return graph_run.result()
        kind = ExitKind.CANCELLED if self._stop.is_set() else ExitKind.TIMED_OUT
        if kind is ExitKind.TIMED_OUT:
            log.warning(
                "%r of graph %r is stopped: it took longer than %g s (BG_JOB_TIMEOUT_SECS)",
                self,
                self.claim.spec.graph_id,
                self._context.job_timeout,
            )
        graph_run.cancel()
        await asyncio.wait({graph_run}, timeout=STOP_GRACE)
        if not graph_run.done():
            log.warning(
                "%r of graph %r does not stop within %g s. The run ends, but its code continues without effect. "
                "Look for code that catches CancelledError or blocks.",
                self,
                self.claim.spec.graph_id,
                STOP_GRACE,
            )
            self.is_left_behind = True
            graph_run.add_done_callback(_forget)
        if self._unstorable is not None and self.reason is None:
            return self._failed(self._unstorable)
        return self._result(kind)

    async def _run_graph(self) -> GraphResult:
        """Runs the graph and publishes its events. An exception of the project's code becomes a GraphResult."""
        try:
            request = read_request(self.claim)
            CALLER.set(request.caller)  # for this task and all tasks that the graph starts
            saver = self._context.checkpointing.bind(self.claim, self)
            graph_id = self.claim.spec.graph_id
            if self._context.registry.has_factory(graph_id):
                await self._store_config(request)
            async with self._context.registry.open(graph_id, request.use, saver) as graph:
                self._graph = graph
                if not self.claim.is_first and await _has_begun(saver, self.claim):
                    request = without_input(request)
                events = self._events = _stream_of(request)
                if request.is_resumed and await stopped_at_breakpoint(graph, request):
                    events.paused = True
                    return self._result(ExitKind.COMPLETED)
                stream = events.run(graph, **request.arguments(graph))
                try:
                    async for event, data in stream:
                        self._stream.emit(event, data)
                        await self._stream.wait_for_room()
                        if self._unstorable is not None:
                            raise self._unstorable  # LangGraph would raise it only at its end
                finally:
                    # If a node raised GeneratorExit, Python believes that the generator still runs.
                    with suppress(RuntimeError):
                        await stream.aclose()
                return self._result(ExitKind.COMPLETED)
        except UnknownInterruptError as error:
            return GraphResult(kind=ExitKind.RAISED, error=describe_error(error), refused=True)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a SystemExit too must end only this run
            return self._failed(error)

    def _failed(self, error: BaseException) -> GraphResult:
        """Returns the result of a graph that raised. Logs the error once, from the project's first line on."""
        error = self._unstorable or error
        if not self.is_given_up and not self._is_failure_logged:
            self._is_failure_logged = True
            log.warning(
                "%r of graph %r failed: %s",
                self,
                self.claim.spec.graph_id,
                summarise_error(error),
                # No line of the project raised an UnstorableError, and its message is complete.
                extra={}
                if isinstance(error, UnstorableError)
                else {"exception": traceback_of(error)},
            )
        return self._result(ExitKind.RAISED, show_error(error))

    async def _store_config(self, request: Request) -> None:
        """Stores the config of this run's factory on the thread: later reads must open the same graph."""
        config = encode(without_ids(request.kwargs.config))
        note = partial(scripts.note_config, self._context.redis, self.claim, config)
        await retry_while_unavailable(repr(self), note, check=self.check)

    def _result(self, kind: ExitKind, error: dict[str, str] | None = None) -> GraphResult:
        """Returns the result with the newest values of the events."""
        values = self._events.newest.to_json() if self._events is not None else None
        return GraphResult(kind=kind, error=error, values=values)

    async def _complete(self, result: GraphResult) -> GraphResult:
        """Returns the result with the thread's state. Reads a checkpoint if the events do not contain it all."""
        graph, events = self._graph, self._events
        if graph is None or events is None or result.refused:
            return result
        if result.kind is ExitKind.COMPLETED and not events.paused:
            if not hides_state(graph):
                return structs.replace(result, interrupts=b"{}", has_next=False)
            # A temporary thread is deleted with its run, so its record needs no hidden state.
            if self.claim.spec.temporary and events.newest.is_known:
                output = encode(output_of(graph, events.newest.values))
                return structs.replace(result, output=output, interrupts=b"{}", has_next=False)
        thread_id = self.claim.spec.thread_id
        return await add_state(result, graph, thread_id, input_events=self._input_events)

    def _input_events(self, interrupts: Iterable[Interrupt]) -> tuple[str | bytes, ...]:
        """Returns the events for the interrupts of a paused run: name, JSON, …"""
        assert self._events is not None
        namespace_of = self._events.namespace_of
        events = [
            input_requested(namespace_of(interrupt.id), show_interrupt(interrupt))
            for interrupt in interrupts
        ]
        return tuple(item for event in events for item in self._stream.limit_size(*event))


class ReadGuard:
    """The guard of a saver through which nothing is written; see checkpoints.saver.Guard."""

    def __init__(self, check: Callable[[], None]) -> None:
        """`check` raises FencedError once the worker gives up the run."""
        self.check = check

    async def before_write(self) -> None:
        """Raises FencedError."""
        raise FencedError("a run whose graph is not executed stores nothing")

    def refuse(self, error: UnstorableError) -> None:
        """Does nothing, as nothing is stored."""


async def add_state_without_running(
    result: GraphResult, claim: Claim, context: GraphContext, check: Callable[[], None]
) -> GraphResult:
    """Returns the result of a run whose graph is not executed here, with its thread's state.

    If the graph can't be opened, the result has no state, and the thread's record stays as it was. A factory is
    not called if it has raised. It is not called either if it may end this process: if the run has lost a process
    before, or its graph is isolated.

    Args:
        check: raises FencedError once the lease is lost.
    """
    graph_id, registry = claim.spec.graph_id, context.registry
    has_factory = registry.has_factory(graph_id)
    is_suspect = claim.attempt > 1 or registry.is_isolated(graph_id)
    if has_factory and (is_suspect or result.kind is ExitKind.RAISED):
        return result
    try:
        use = read_request(claim).use
        saver = context.checkpointing.bind(claim, ReadGuard(check))
        async with (
            asyncio.timeout(OPEN_TIMEOUT if has_factory else None),
            registry.open(graph_id, use, saver) as graph,
        ):
            return await add_state(result, graph, claim.spec.thread_id)
    except FencedError:
        raise
    except BaseException as error:  # of the project's factory
        if is_cancelled(error):
            raise
        log.warning(
            "graph %s can't be opened to read a state: %s", graph_id, summarise_error(error)
        )
        return result


async def _has_begun(saver: BaseCheckpointSaver[Any], claim: Claim) -> bool:
    """Returns whether an earlier attempt of the run has stored a checkpoint."""
    newest = await saver.aget_tuple(
        {"configurable": {"thread_id": claim.spec.thread_id, "checkpoint_ns": ""}}
    )
    return newest is not None and newest.metadata.get("run_id") == claim.spec.run_id


def _stream_of(request: Request) -> EventStream | ProtocolStream:
    kwargs = request.kwargs
    if kwargs.event_streaming is True:
        return ProtocolStream()
    return EventStream(kwargs.stream_mode, subgraphs=kwargs.stream_subgraphs)


def _forget(task: "asyncio.Task[GraphResult]") -> None:
    """Reads the exception of an abandoned graph, so that asyncio does not log it as never retrieved."""
    if not task.cancelled():
        task.exception()
