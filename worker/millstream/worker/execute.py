"""The story of one attempt of a run, top to bottom."""

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import UnknownInterruptError

from millstream.shared import runs, scripts
from millstream.shared.errors import FencedError
from millstream.shared.lifecycle import Cause
from millstream.shared.multitask import CancelAction
from millstream.shared.protocol import is_protocol
from millstream.shared.redis import Client
from millstream.shared.scripts import Batch, Claim
from millstream.shared.settings import Settings
from millstream.worker.checkpoints.choice import Checkpointing, RollbackUnsupportedError
from millstream.worker.encode import encode, error_of
from millstream.worker.events import INTERRUPT, EventStream
from millstream.worker.graphs import Graph, GraphRegistry
from millstream.worker.heartbeat import Heartbeat
from millstream.worker.outcome import How, Outcome, outcome
from millstream.worker.patience import patiently
from millstream.worker.presence import Presence
from millstream.worker.protocol_stream import ProtocolStream, input_requested
from millstream.worker.publish import Publisher, RunStream
from millstream.worker.request import CHECKPOINT_KEYS, Request, read_request, resumed

log = logging.getLogger(__name__)

# s that a cancelled graph may take to stop; after it the run is ended without it, and whatever
# the graph still writes is refused.
STOP_GRACE: Final = 0.5
OVERTIME: Final = 30.0  # s beyond its time limit in which a run must have been ended by its worker
# Reasons for which the run goes on elsewhere: the lease is another's, may be, or is handed back.
GIVEN_UP: Final = ("lost", "lapsed", "drain")


@dataclass(frozen=True, slots=True)
class Tools:
    """What an attempt works with; one set a worker process."""

    redis: Client
    registry: GraphRegistry
    checkpointing: Checkpointing
    publisher: Publisher
    heartbeat: Heartbeat
    presence: Presence
    settings: Settings


@dataclass(slots=True)
class Ending:
    """How the graph came to its end, and what it left."""

    how: How
    error: dict[str, str] | None = None
    values: bytes | None = None  # JSON of the state, None if it is not known to have changed
    pause: bytes | None = None  # JSON of the state with what it waits for: answer of wait
    interrupts: bytes = b"{}"  # JSON: task id → its interrupts
    # Events that tell what is asked, written in the step that ends the run: who answers at once must not be
    # too early.
    asked: tuple[str | bytes, ...] = ()
    refused: bool = False  # before anything was done: the thread is as it was

    def bounded(self, most: int) -> "Ending":
        """Returns what can be kept with records of at most `most` bytes: the checkpoint has all."""
        size = max(len(part or b"") for part in (self.values, self.pause, self.interrupts))
        if size <= most:
            return self
        message = (
            f"The state takes {size} bytes and is not shown here: STREAM_MAX_EVENT_BYTES is {most}."
        )
        shown: dict[str, Any] = {"__error__": {"error": "StateTooLarge", "message": message}}
        if self.how is How.PAUSED:
            shown[INTERRUPT] = []
        told = encode(shown)
        return Ending(self.how, self.error, values=b"", pause=told, asked=self.asked)


class Attempt:
    """A claimed run while this worker holds it."""

    def __init__(self, claim: Claim, tools: Tools, *, since: float) -> None:
        self.claim = claim
        self._since = since  # monotonic time, right before the claim was sent
        self.tools = tools
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._reason: str | None = None  # 'lost', 'lapsed', 'drain', or the action of a cancel
        self._stream: RunStream = tools.publisher.stream(claim, lambda: self.stop("lost"))
        self._events: EventStream | ProtocolStream | None = None
        self._unsent: list[str | bytes] = []  # events that no batch took with it
        self._undone = False  # rolled back: its thread is as it was before

    def __repr__(self) -> str:
        return f"<Attempt {self.claim.attempt} of {self.claim.job}, fence {self.claim.fence}>"

    def stop(self, reason: str) -> None:
        """Has the graph stopped; the first reason counts, but a lost lease goes before all."""
        if self._reason is None or reason == "lost":
            self._reason = reason
        self._stop.set()
        self._stream.stir()

    def check(self) -> None:
        """Raises FencedError once the run is being given up: its graph is stopped then, and what it
        stores while it falls apart would look like work that was done."""
        if self._reason in GIVEN_UP:
            raise FencedError(f"{self.claim.job} is being given up: {self._reason}")

    async def before_write(self) -> None:
        """Waits until the events of what is about to be stored are in Redis."""
        await self._stream.written(self.check)

    async def execute(self) -> None:
        """Executes the run and writes its end; never raises.

        Nothing is written when the lease is lost: the run is another's by then.
        """
        claim, heartbeat = self.claim, self.tools.heartbeat
        heartbeat.hold(
            claim,
            lambda word: self._loop.call_soon_threadsafe(self.stop, word),
            since=self._since,
            at_most=self.tools.settings.job_timeout + OVERTIME,
        )
        try:
            if claim.cancel is not None:
                ending = Ending(How.CANCELLED)
            elif claim.attempt > self.tools.settings.max_attempts:
                ending = Ending(How.EXHAUSTED)
            else:
                ending = await self._run_until_stopped()
            if self._reason == "lost":
                log.warning("%r lost its lease and stops", self)
            elif self._reason in GIVEN_UP and ending.how is How.CANCELLED:
                await patiently(repr(self), self._hand_back)
            else:
                await self._finish(ending)
        except FencedError:
            log.warning("%r lost its lease; another worker ends the run", self)
        except Exception:
            log.exception("%r failed outside its graph", self)
        finally:
            heartbeat.release(claim)
            await self._stream.close()

    async def _close_stream(self) -> list[str | bytes]:
        """Returns the events that are still unsent; raises FencedError if a batch of them was
        refused, for an end behind it would hide the gap."""
        words = await self._stream.close()
        if self._stream.refused:
            raise FencedError(f"events of {self.claim.job} were refused")
        return words

    async def _hand_back(self) -> None:
        """Gives the run up, with all the events that the graph has produced so far.

        May be called again after it failed.
        """
        self._unsent += await self._close_stream()
        if self._unsent:
            batch = Batch(self.claim, self._stream.batches + 1, self._unsent, self._stream.index)
            most = self.tools.settings.stream_max_events
            await scripts.append(self.tools.redis, [batch], max_events=most)
        if await scripts.hand_back(self.tools.redis, self.claim):
            log.info("%r is handed back", self)

    async def _run_until_stopped(self) -> Ending:
        """Runs the graph until it ends, is stopped, or its time is up."""
        graph_run = asyncio.create_task(self._run_graph(), name=f"graph {self.claim.job}")
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait(
                {graph_run, stopped},
                timeout=self.tools.settings.job_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopped.cancel()
        if graph_run.done() and self._reason in GIVEN_UP:
            ended = None if graph_run.cancelled() else graph_run.result()
            if ended is not None and ended.how in (How.COMPLETED, How.PAUSED):
                return ended
            return Ending(How.CANCELLED)  # it fell over what it could not store any more
        if graph_run.cancelled():  # nobody cancelled it: a user's code let a CancelledError out
            told = {"error": "CancelledError", "message": "The graph cancelled itself."}
            return Ending(How.RAISED, error=told, values=self._newest_values())
        if graph_run.done():
            return graph_run.result()
        how = How.CANCELLED if self._stop.is_set() else How.TIMED_OUT
        graph_run.cancel()
        await asyncio.wait({graph_run}, timeout=STOP_GRACE)
        if not graph_run.done():
            log.warning("%r does not stop; the run ends without it", self)
            graph_run.add_done_callback(_forget)
        return Ending(how, values=self._newest_values())

    async def _run_graph(self) -> Ending:
        """Runs the graph and publishes its events; exceptions of the graph are an Ending."""
        try:
            request = read_request(self.claim)
            saver = self.tools.checkpointing.under(self.claim, self)
            async with self.tools.registry.open(
                self.claim.spec.graph_id, request.config, saver
            ) as graph:
                if not self.claim.is_first and await _has_begun(saver, self.claim):
                    request = resumed(request)
                events = self._events = _stream_of(request)
                async for event, data in events.run(graph, **request.arguments(graph)):
                    self._stream.emit(event, data)
                    await self._stream.room()
                if events.paused:
                    return await self._paused(graph, request, events)
                return Ending(How.COMPLETED, values=self._newest_values())
        except UnknownInterruptError as error:
            return Ending(How.RAISED, error=error_of(error), refused=True)
        except Exception as error:
            log.info("%r raised %s", self, type(error).__name__, exc_info=error)
            return Ending(How.RAISED, error=error_of(error), values=self._newest_values())

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
            How.PAUSED if state.next else How.COMPLETED,
            values=encode(values),
            pause=encode({**values, INTERRUPT: shown}),
            interrupts=encode(interrupts),
            asked=tuple(asked),
        )

    async def _roll_back(self) -> bool:
        """Undoes what the run stored, if its cancel asks for that.

        Raises RollbackUnsupportedError if the checkpointer can't.
        """
        spec, redis = self.claim.spec, self.tools.redis
        action = await runs.cancel_action(redis, spec.thread_id, spec.run_id)
        if action is CancelAction.ROLLBACK:
            await self.tools.checkpointing.roll_back(self.claim)
            self._undone = True
        return self._undone

    def _newest_values(self) -> bytes | None:
        events = self._events
        if events is None or events.values is None:
            return None
        if isinstance(events.values, dict) and INTERRUPT in events.values:
            return encode({k: v for k, v in events.values.items() if k != INTERRUPT})
        return events.values_json or encode(events.values)

    async def _finish(self, ending: Ending) -> None:
        """Writes the end; a cancel that came first turns it into the end of a cancelled run."""
        settings = self.tools.settings
        ending = ending.bounded(settings.max_event)
        words = await self._close_stream()
        for how in (ending.how, How.CANCELLED):
            refusal = None
            try:
                if how is How.CANCELLED and await patiently(repr(self), self._roll_back):
                    ending = Ending(How.CANCELLED)
            except RollbackUnsupportedError as reason:
                log.error("%r can't be rolled back: %s", self, reason)
                refusal = error_of(reason)
            result = outcome(
                how, ending.error, timeout=settings.job_timeout, attempts=settings.max_attempts
            )
            if refusal is not None:  # who asked for it must not believe that it was done
                result = replace(result, error=refusal, shown=True)
            error = encode(result.error) if result.error else b""
            last: list[str | bytes] = ["error", error] if result.shown else []
            if how is How.PAUSED:
                last += ending.asked
            write = partial(
                scripts.finish,
                self.tools.redis,
                self.claim.spec,
                result.cause,
                fence=self.claim.fence,
                stream_ttl=settings.stream_ttl,
                thread=None
                if self._undone or ending.refused
                else _thread_fields(result, ending, error),
                events=[*words, *last],
                after=self._stream.index,
                output=_output(result, ending, error),
                error=error,
            )
            status = await patiently(repr(self), write)
            if status is not None or result.cause is Cause.CANCELLED:
                return


def _thread_fields(result: Outcome, ending: Ending, error: bytes) -> dict[str, str | bytes]:
    fields: dict[str, str | bytes] = {
        "settled": result.settled.value,
        "interrupts": ending.interrupts,
        "error": error,
    }
    if ending.values is not None:
        fields["values"] = ending.values
    return fields


def _output(result: Outcome, ending: Ending, error: bytes) -> bytes:
    """Returns the JSON that wait and join answer with."""
    if result.shown:
        return b'{"__error__":' + error + b"}"
    if ending.pause is not None and (result.cause is Cause.SUCCEEDED or not ending.values):
        return ending.pause
    return ending.values or b""


async def _has_begun(saver: BaseCheckpointSaver[Any], claim: Claim) -> bool:
    """Returns whether an earlier attempt left a checkpoint to go on from."""
    newest = await saver.aget_tuple(
        {"configurable": {"thread_id": claim.spec.thread_id, "checkpoint_ns": ""}}
    )
    return newest is not None and newest.metadata.get("run_id") == claim.spec.run_id


def _stream_of(request: Request) -> EventStream | ProtocolStream:
    modes = request.kwargs.stream_mode
    if is_protocol(modes):
        return ProtocolStream()
    return EventStream(modes, subgraphs=request.kwargs.subgraphs)


def _mapping(values: Any) -> dict[str, Any]:
    return values if isinstance(values, dict) else {"__root__": values}


def _forget(task: "asyncio.Task[Ending]") -> None:
    """Collects what an abandoned graph ends with, so that nobody is told of it later."""
    if not task.cancelled():
        task.exception()
