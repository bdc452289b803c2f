"""A thread's newest state → the fields of its record, after runs and after updates.

The record (`GET /threads/{t}`, a search) agrees with the state (`GET …/state`): it has the state's values and the
interrupts of the newest checkpoint.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt, StateSnapshot
from msgspec import structs

from millstream.shared.errors import FencedError
from millstream.worker.encode import encode, show_interrupt
from millstream.worker.failure import is_cancelled, summarise_error
from millstream.worker.final_record import ExitKind
from millstream.worker.graph_result import INTERRUPT, GraphResult
from millstream.worker.graphs import Graph

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A thread's newest state in the form of its record and of its runs' responses."""

    values: bytes | None  # JSON of the whole state; None without a state
    output: bytes | None  # JSON of the state's output channels
    paused_output: bytes | None  # the same with the interrupts, if the thread is paused
    interrupts: bytes  # JSON: task id → its interrupts
    pending_interrupts: tuple[Interrupt, ...]  # the same interrupts
    has_next: bool  # whether nodes are left to execute


async def add_state(
    result: GraphResult,
    graph: Graph,
    thread_id: str,
    *,
    input_events: Callable[[Iterable[Interrupt]], tuple[str | bytes, ...]] = lambda _: (),
) -> GraphResult:
    """Returns the result with the state of the thread's newest checkpoint.

    Raises FencedError. After another error it returns the result unchanged: clients can't read the state either.

    Args:
        input_events: returns the events for the interrupts of a paused run.
    """
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    try:
        record = record_of(graph, await graph.aget_state(config))
    except FencedError:
        raise
    except BaseException as error:  # a reducer of the project; SystemExit and CancelledError too
        if is_cancelled(error):
            raise
        log.warning("the state of thread %s can't be read: %s", thread_id, summarise_error(error))
        return result
    is_paused = record.has_next and result.kind is ExitKind.COMPLETED
    kind = ExitKind.PAUSED if is_paused else result.kind
    return structs.replace(
        result,
        kind=kind,
        values=record.values,
        output=record.output,
        paused_output=record.paused_output,
        interrupts=record.interrupts,
        has_next=record.has_next,
        input_events=input_events(record.pending_interrupts) if kind is ExitKind.PAUSED else (),
    )


def record_of(graph: Graph, state: StateSnapshot) -> ThreadRecord:
    """Returns the record of a thread whose newest state this is."""
    interrupts = {
        task.id: [show_interrupt(interrupt) for interrupt in task.interrupts]
        for task in state.tasks
        if task.interrupts
    }
    if state.metadata is None:
        return ThreadRecord(None, None, None, b"{}", (), has_next=False)
    output = output_of(graph, state.values)
    channels = output if _is_mapping(graph.output_channels) else {}
    return ThreadRecord(
        values=encode(state.values),
        output=encode(output),
        paused_output=encode({**channels, INTERRUPT: state.interrupts}) if state.next else None,
        interrupts=encode(interrupts),
        pending_interrupts=state.interrupts,
        has_next=bool(state.next),
    )


def hides_state(graph: Graph) -> bool:
    """Returns whether the graph's output schema leaves out a part of its state."""
    return graph.output_channels != graph.stream_channels_asis


def output_of(graph: Graph, values: Any) -> Any:
    """Returns the part of the state's values that the graph's output schema has."""
    if not hides_state(graph) or not isinstance(values, dict):
        return values
    channels = graph.output_channels
    if not _is_mapping(channels):
        return values.get(channels)
    return {name: values[name] for name in channels if name in values}


def _is_mapping(channels: str | Sequence[str]) -> bool:
    """Returns whether the output is a mapping by channel, and not the value of one channel."""
    return not isinstance(channels, str)
