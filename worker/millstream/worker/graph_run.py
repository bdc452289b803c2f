"""One attempt's graph: executed until it ends or is stopped, its events on their way to Redis."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import UnknownInterruptError

from millstream.shared import scripts
from millstream.shared.errors import FencedError
from millstream.shared.own_api import CALLER
from millstream.shared.redis import Client
from millstream.shared.scripts import Claim
from millstream.worker.checkpoints.choice import Checkpointing
from millstream.worker.checkpoints.unstorable import UnstorableError
from millstream.worker.encode import encode
from millstream.worker.ending import INTERRUPT, Ending
from millstream.worker.events import EventStream
from millstream.worker.failure import SELF_CANCELLED, error_of, summary, traceback_of
from millstream.worker.graphs import Graph, GraphRegistry
from millstream.worker.outcome import How
from millstream.worker.patience import patiently
from millstream.worker.protocol_stream import ProtocolStream, input_requested
from millstream.worker.publish import Publisher, RunStream
from millstream.worker.request import CHECKPOINT_KEYS, Request, read_request, resumed

log = logging.getLogger(__name__)

# s that a cancelled graph may take to stop; after it the run is ended without it, and whatever
# the graph still writes is refused.
STOP_GRACE: Final = 0.5
NO_PROCESS: Final = "no process"  # none can be started for a run that is to have one
# Reasons for which the run goes on elsewhere: the lease is another's, may be, or is handed back.
GIVEN_UP: Final = ("lost", "lapsed", "drain", NO_PROCESS)


@dataclass(frozen=True, slots=True)
class Unsent:
    """What a graph's stream still holds when it is closed, and where it stands in Redis."""

    words: list[str | bytes]  # event name, JSON data, …: no batch took them
    batches: int  # how many batches of this attempt were sent
    index: int  # of the newest event that Redis is known to have
    refused: bool  # Redis refused a batch, so nothing may be written behind it


class CrashError(Exception):
    """The run ended the process in which it alone was executed; the text says how."""


class Execution(Protocol):
    """Executes one attempt's graph, in this process or in another one."""

    reason: str | None  # why it was stopped: 'lost', 'lapsed', 'drain', or the action of a cancel

    @property
    def time_limit(self) -> float:
        """Seconds in which `run` has ended, unless the event loop is held up."""

    def stop(self, reason: str) -> None:
        """Has the graph stopped; the first reason counts, but a lost lease goes before all."""

    async def run(self) -> Ending:
        """Executes the graph until it ends, is stopped, or its time is up; raises CrashError."""

    async def close(self) -> Unsent:
        """Ends the stream of events; a repeated call returns no words again."""


@dataclass(frozen=True, slots=True)
class GraphTools:
    """What a graph is executed with; one set a process."""

    redis: Client
    registry: GraphRegistry
    checkpointing: Checkpointing
    publisher: Publisher
    job_timeout: float  # s


class GraphRun:
    """The graph of one attempt, executed in this process."""

    def __init__(self, claim: Claim, tools: GraphTools) -> None:
        self.claim = claim
        self.reason: str | None = None
        self.is_left_behind = False  # the graph does not stop, though the run has ended
        self._tools = tools
        self._stop = asyncio.Event()
        self._stream: RunStream = tools.publisher.stream(claim, lambda: self.stop("lost"))
        self._events: EventStream | ProtocolStream | None = None
        self._unstorable: UnstorableError | None = None  # what a checkpoint could not hold
        self._logged = False  # its failure

    @property
    def time_limit(self) -> float:
        """Seconds in which `run` has ended, unless the event loop is held up."""
        return self._tools.job_timeout

    def __repr__(self) -> str:
        return f"<GraphRun {self.claim.attempt} of {self.claim.job}, fence {self.claim.fence}>"

    def stop(self, reason: str) -> None:
        """Has the graph stopped; the first reason counts, but a lost lease goes before all."""
        if self.reason is None or reason == "lost":
            self.reason = reason
        self._stop.set()
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
        if self.reason in GIVEN_UP:
            raise FencedError(f"{self.claim.job} is being given up: {self.reason}")

    async def before_write(self) -> None:
        """Waits until the events of what is about to be stored are in Redis."""
        await self._stream.written(self.check)

    async def close(self) -> Unsent:
        """Ends the stream of events; a repeated call returns no words again."""
        words = await self._stream.close()
        stream = self._stream
        return Unsent(words, stream.batches, stream.index, stream.refused)

    async def run(self) -> Ending:
        """Executes the graph until it ends, is stopped, or its time is up."""
        if self._stop.is_set():
            return Ending(how=How.CANCELLED)
        graph_run = asyncio.create_task(self._run_graph(), name=f"graph {self.claim.job}")
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait(
                {graph_run, stopped},
                timeout=self._tools.job_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._unstorable is not None:  # what came before it is still being stored
                await asyncio.wait({graph_run}, timeout=STOP_GRACE)
        finally:
            stopped.cancel()
        if graph_run.done() and self.reason in GIVEN_UP:
            ended = None if graph_run.cancelled() else graph_run.result()
            if ended is not None and ended.how in (How.COMPLETED, How.PAUSED):
                return ended
            return Ending(how=How.CANCELLED)  # it fell over what it could not store any more
        if graph_run.cancelled():  # nobody cancelled it: a user's code let a CancelledError out
            told = {"error": "CancelledError", "message": SELF_CANCELLED}
            return Ending(how=How.RAISED, error=told, values=self._newest_values())
        if graph_run.done():
            return graph_run.result()
        how = How.CANCELLED if self._stop.is_set() else How.TIMED_OUT
        graph_run.cancel()
        await asyncio.wait({graph_run}, timeout=STOP_GRACE)
        if not graph_run.done():
            log.warning("%r does not stop; the run ends without it", self)
            self.is_left_behind = True
            graph_run.add_done_callback(_forget)
        if self._unstorable is not None and self.reason is None:
            return self._raised(self._unstorable)
        return Ending(how=how, values=self._newest_values())

    async def _run_graph(self) -> Ending:
        """Runs the graph and publishes its events; whatever the project's code raises is an Ending."""
        try:
            request = read_request(self.claim)
            CALLER.set(request.caller)  # of this task, and of all that the graph starts
            saver = self._tools.checkpointing.under(self.claim, self)
            graph_id = self.claim.spec.graph_id
            if self._tools.registry.is_made(graph_id):
                await self._note_config(request)
            async with self._tools.registry.open(graph_id, request.use, saver) as graph:
                if not self.claim.is_first and await _has_begun(saver, self.claim):
                    request = resumed(request)
                events = self._events = _stream_of(request)
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
                if events.paused:
                    return await self._paused(graph, request, events)
                return Ending(how=How.COMPLETED, values=self._newest_values())
        except UnknownInterruptError as error:
            return Ending(how=How.RAISED, error=error_of(error), refused=True)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it is this run's end alone
            return self._raised(error)

    def _raised(self, error: BaseException) -> Ending:
        """Returns the end of a run whose code raised; it is logged once, from the project's line on."""
        error = self._unstorable or error
        if self.reason not in GIVEN_UP and not self._logged:
            self._logged = True
            spec = self.claim.spec
            log.warning(
                "run %s of graph %r on thread %s failed (attempt %d): %s%s",
                spec.run_id,
                spec.graph_id,
                spec.thread_id,
                self.claim.attempt,
                summary(error),
                # Of what can't be stored the message says all, and no line of the project raised it.
                "" if isinstance(error, UnstorableError) else f"\n{traceback_of(error)}",
            )
        return Ending(how=How.RAISED, error=error_of(error), values=self._newest_values())

    async def _note_config(self, request: Request) -> None:
        """Has the thread keep what a factory makes this run's graph of: reads of it need the same graph."""
        noted = encode(request.noted_config())
        note = partial(scripts.note_config, self._tools.redis, self.claim, noted)
        await patiently(repr(self), note, check=self.check)

    async def _paused(
        self, graph: Graph, request: Request, events: EventStream | ProtocolStream
    ) -> Ending:
        """Asks the checkpoint what the thread waits for, and tells it to those who follow the thread."""
        configurable = {
            key: value
            for key, value in request.config.get("configurable", {}).items()
            if key not in CHECKPOINT_KEYS
        }
        state = await graph.aget_state({"configurable": configurable})
        interrupts = {
            task.id: [{"id": i.id, "value": i.value} for i in task.interrupts]
            for task in state.tasks
            if task.interrupts
        }
        values = {k: v for k, v in _mapping(state.values).items() if k != INTERRUPT}
        shown = [interrupt for task in state.tasks for interrupt in task.interrupts]
        asked = [
            word
            for each in shown
            for word in self._stream.fitting(
                *input_requested(events.namespace_of(each.id), each.id, each.value)
            )
        ]
        return Ending(
            how=How.PAUSED if state.next else How.COMPLETED,
            values=encode(values),
            pause=encode({**values, INTERRUPT: shown}),
            interrupts=encode(interrupts),
            asked=tuple(asked),
        )

    def _newest_values(self) -> bytes | None:
        events = self._events
        if events is None or events.values is None:
            return None
        if isinstance(events.values, dict) and INTERRUPT in events.values:
            return encode({k: v for k, v in events.values.items() if k != INTERRUPT})
        return events.values_json or encode(events.values)


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
    return EventStream(kwargs.stream_mode, subgraphs=kwargs.subgraphs)


def _mapping(values: Any) -> dict[str, Any]:
    return values if isinstance(values, dict) else {"__root__": values}


def _forget(task: "asyncio.Task[Ending]") -> None:
    """Collects what an abandoned graph ends with, so that nobody is told of it later."""
    if not task.cancelled():
        task.exception()
