"""One attempt's graph: executed until it ends or is stopped, its events on their way to Redis."""

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
from millstream.worker.encode import encode, show_interrupt
from millstream.worker.events import EventStream
from millstream.worker.execution import STOP_GRACE, Execution, Unsent
from millstream.worker.failure import (
    SELF_CANCELLED,
    error_of,
    is_cancelled,
    summary,
    traceback_of,
)
from millstream.worker.final_record import ExitKind
from millstream.worker.graph_result import GraphResult
from millstream.worker.graphs import Graph, GraphRegistry
from millstream.worker.protocol_stream import ProtocolStream, input_requested
from millstream.worker.publish import Publisher, RunStream
from millstream.worker.request import Request, read_request, resumed
from millstream.worker.stop_reason import StopReason
from millstream.worker.thread_record import hides_state, output_of, with_state

log = logging.getLogger(__name__)

OPEN_TIMEOUT: Final = 5.0  # s in which a factory must give its graph when only its state is read


@dataclass(frozen=True, slots=True)
class GraphContext:
    """What a graph is executed with; one set a process."""

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
        self.is_left_behind = False  # the graph does not stop, though the run has ended
        self._context = context
        self._stream: RunStream = context.publisher.stream(
            claim, lambda: self.stop(StopReason.LOST)
        )
        self._events: EventStream | ProtocolStream | None = None
        self._unstorable: UnstorableError | None = None  # what a checkpoint could not hold
        self._logged = False  # its failure
        self._graph: Graph | None = None  # as soon as it is open; its state can be read even later

    @property
    def time_limit(self) -> float:
        """Seconds in which `run` has ended, unless the event loop is held up."""
        return self._context.job_timeout

    def _on_stop(self, reason: StopReason) -> None:
        self._stream.stir()

    def refuse(self, error: UnstorableError) -> None:
        """Has the run fail with the error: see `saver.Guard`."""
        if self._unstorable is None:
            self._unstorable = error
        self._stop.set()
        self._stream.stir()

    def check(self) -> None:
        """Raises FencedError once the run is being given up: its graph is stopped then, and what it
        stores while it falls apart would look like work that was done."""
        if self.is_given_up:
            raise FencedError(f"{self.claim.job} is being given up: {self.reason}")

    async def before_write(self) -> None:
        """Waits until the events of what is about to be stored are in Redis; raises FencedError as
        `check` does, and once the run is over: its record would not have what is stored now."""
        await self._stream.written(self.check)
        if self.is_left_behind:
            raise FencedError(f"{self.claim.job} is over, though its graph does not stop")

    async def close(self) -> Unsent:
        """Ends the stream of events; a repeated call returns no words again."""
        words = await self._stream.close()
        stream = self._stream
        return Unsent(words, stream.batches, stream.index, stream.refused)

    async def run(self) -> GraphResult:
        """Executes the graph until it ends, is stopped, or its time is up."""
        if self._stop.is_set():
            return GraphResult(how=ExitKind.CANCELLED)
        ending = await self._run_until_stopped()
        if self.is_given_up and ending.how is ExitKind.CANCELLED:
            return ending
        try:
            return await self._settled(ending)
        except FencedError:
            if not self.is_given_up:
                raise
            return GraphResult(
                how=ExitKind.CANCELLED
            )  # it goes on elsewhere, where its state is read again

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
            if self._unstorable is not None:  # what came before it is still being stored
                await asyncio.wait({graph_run}, timeout=STOP_GRACE)
        finally:
            stopped.cancel()
        if graph_run.done() and self.is_given_up:
            ended = None if graph_run.cancelled() else graph_run.result()
            if ended is not None and ended.how in (ExitKind.COMPLETED, ExitKind.PAUSED):
                return ended
            return GraphResult(
                how=ExitKind.CANCELLED
            )  # it fell over what it could not store any more
        if graph_run.cancelled():  # nobody cancelled it: a user's code let a CancelledError out
            log.warning("%r of graph %r failed: %s", self, self.claim.spec.graph_id, SELF_CANCELLED)
            told = {"error": "CancelledError", "message": SELF_CANCELLED}
            return self._ended(ExitKind.RAISED, told)
        if graph_run.done():
            return graph_run.result()
        how = ExitKind.CANCELLED if self._stop.is_set() else ExitKind.TIMED_OUT
        if how is ExitKind.TIMED_OUT:
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
                "%r of graph %r does not stop within %g s: the run ends, its code goes on for nothing. Look "
                "for code that catches CancelledError, or blocks.",
                self,
                self.claim.spec.graph_id,
                STOP_GRACE,
            )
            self.is_left_behind = True
            graph_run.add_done_callback(_forget)
        if self._unstorable is not None and self.reason is None:
            return self._raised(self._unstorable)
        return self._ended(how)

    async def _run_graph(self) -> GraphResult:
        """Runs the graph and publishes its events; whatever the project's code raises is an GraphResult."""
        try:
            request = read_request(self.claim)
            CALLER.set(request.caller)  # of this task, and of all that the graph starts
            saver = self._context.checkpointing.bind(self.claim, self)
            graph_id = self.claim.spec.graph_id
            if self._context.registry.is_made(graph_id):
                await self._note_config(request)
            async with self._context.registry.open(graph_id, request.use, saver) as graph:
                self._graph = graph
                if not self.claim.is_first and await _has_begun(saver, self.claim):
                    request = resumed(request)
                events = self._events = _stream_of(request)
                if request.is_resumed and await stopped_at_breakpoint(graph, request):
                    events.paused = True
                    return self._ended(ExitKind.COMPLETED)
                told = events.run(graph, **request.arguments(graph))
                try:
                    async for event, data in told:
                        self._stream.emit(event, data)
                        await self._stream.room()
                        if self._unstorable is not None:
                            raise self._unstorable  # LangGraph would go on, and raise at the end
                finally:
                    # After a GeneratorExit of a node, Python takes the generator for one that still runs.
                    with suppress(RuntimeError):
                        await told.aclose()
                return self._ended(ExitKind.COMPLETED)
        except UnknownInterruptError as error:
            return GraphResult(how=ExitKind.RAISED, error=error_of(error), refused=True)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it is this run's end alone
            return self._raised(error)

    def _raised(self, error: BaseException) -> GraphResult:
        """Returns the end of a run whose code raised; it is logged once, from the project's line on."""
        error = self._unstorable or error
        if not self.is_given_up and not self._logged:
            self._logged = True
            log.warning(
                "%r of graph %r failed: %s%s",
                self,
                self.claim.spec.graph_id,
                summary(error),
                # Of what can't be stored the message says all, and no line of the project raised it.
                "" if isinstance(error, UnstorableError) else f"\n{traceback_of(error)}",
            )
        return self._ended(ExitKind.RAISED, error_of(error))

    async def _note_config(self, request: Request) -> None:
        """Has the thread keep what a factory makes this run's graph of: reads of it need the same graph."""
        noted = encode(without_ids(request.kwargs.config))
        note = partial(scripts.note_config, self._context.redis, self.claim, noted)
        await retry_while_unavailable(repr(self), note, check=self.check)

    def _ended(self, how: ExitKind, error: dict[str, str] | None = None) -> GraphResult:
        """Returns the end with what the events told of the state."""
        values = self._events.newest.encoded() if self._events is not None else None
        return GraphResult(how=how, error=error, values=values)

    async def _settled(self, ending: GraphResult) -> GraphResult:
        """Returns the end with what the state says, where the events did not tell all of it."""
        graph, events = self._graph, self._events
        if graph is None or events is None or ending.refused:
            return ending
        if ending.how is ExitKind.COMPLETED and not events.paused:
            if not hides_state(graph):
                return structs.replace(ending, interrupts=b"{}", waits=False)
            if self.claim.spec.temporary and events.newest.is_known:  # its thread goes with it
                output = encode(output_of(graph, events.newest.values))
                return structs.replace(ending, output=output, interrupts=b"{}", waits=False)
        thread_id = self.claim.spec.thread_id
        return await with_state(ending, graph, thread_id, asked=self._asked)

    def _asked(self, questions: Iterable[Interrupt]) -> tuple[str | bytes, ...]:
        """Returns the events that tell those who follow the thread what it waits for."""
        assert self._events is not None
        place = self._events.namespace_of
        return tuple(
            word
            for each in questions
            for word in self._stream.fitting(*input_requested(place(each.id), show_interrupt(each)))
        )


class Reading:
    """The guard of a saver that a run only reads through; see checkpoints.saver.Guard."""

    def __init__(self, check: Callable[[], None]) -> None:
        """`check` raises FencedError once the run is being given up."""
        self.check = check

    async def before_write(self) -> None:
        """Raises FencedError: nothing is to be written."""
        raise FencedError("nothing is stored of a run whose graph is not executed")

    def refuse(self, error: UnstorableError) -> None:
        """Does nothing, as nothing is stored."""


async def without_running(
    ending: GraphResult, claim: Claim, context: GraphContext, check: Callable[[], None]
) -> GraphResult:
    """Returns the end of a run whose graph is not executed here, with what its thread's state says.

    Where the graph can't be opened, the record stays as it was. That is so too for a factory that has
    raised, and for one that may end the process: its run has lost a process already, or is to have one
    of its own. `check` raises FencedError once the lease is lost.
    """
    graph_id, registry = claim.spec.graph_id, context.registry
    is_made = registry.is_made(graph_id)
    is_suspect = claim.attempt > 1 or registry.is_isolated(graph_id)
    if is_made and (is_suspect or ending.how is ExitKind.RAISED):
        return ending
    try:
        use = read_request(claim).use
        saver = context.checkpointing.bind(claim, Reading(check))
        async with (
            asyncio.timeout(OPEN_TIMEOUT if is_made else None),
            registry.open(graph_id, use, saver) as graph,
        ):
            return await with_state(ending, graph, claim.spec.thread_id)
    except FencedError:
        raise
    except BaseException as error:  # of a factory: whatever the project's code raises
        if is_cancelled(error):
            raise
        log.warning("graph %s is not opened to read a state: %s", graph_id, summary(error))
        return ending


async def _has_begun(saver: BaseCheckpointSaver[Any], claim: Claim) -> bool:
    """Returns whether an earlier attempt left a checkpoint to go on from."""
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
    """Collects what an abandoned graph ends with, so that nobody is told of it later."""
    if not task.cancelled():
        task.exception()
