"""What a thread's record says of its newest state: decided here, for runs and for updates alike.

The record (`GET /threads/{t}`, a search) agrees with the state (`GET …/state`): its values are the state's, its
interrupts are what the newest checkpoint waits for.
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
from millstream.worker.failure import is_cancelled, summary
from millstream.worker.final_record import ExitKind
from millstream.worker.graph_result import INTERRUPT, GraphResult
from millstream.worker.graphs import Graph

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A thread's newest state, as its record and the answers of its runs show it."""

    values: bytes | None  # JSON of the whole state; None if there is no state yet
    output: bytes | None  # JSON of what the graph's output schema has of it
    pause: bytes | None  # the same with what the thread waits for, if it waits
    interrupts: bytes  # JSON: task id → its interrupts
    questions: tuple[Interrupt, ...]  # the same interrupts
    waits: bool  # whether nodes are left to run


async def with_state(
    ending: GraphResult,
    graph: Graph,
    thread_id: str,
    *,
    asked: Callable[[Iterable[Interrupt]], tuple[str | bytes, ...]] = lambda _: (),
) -> GraphResult:
    """Returns the end of a run with what the thread's newest checkpoint says.

    Args:
        asked: makes the events that tell what a run waits for that has paused.

    Raises FencedError. What else goes wrong leaves the end as it is: the thread's state can't be read then
    either.
    """
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    try:
        record = record_of(graph, await graph.aget_state(config))
    except FencedError:
        raise
    except BaseException as error:  # a reducer of the project; SystemExit and CancelledError too
        if is_cancelled(error):
            raise
        log.warning("The state of thread %s can't be read: %s", thread_id, summary(error))
        return ending
    how = ExitKind.PAUSED if record.waits and ending.how is ExitKind.COMPLETED else ending.how
    return structs.replace(
        ending,
        how=how,
        values=record.values,
        output=record.output,
        pause=record.pause,
        interrupts=record.interrupts,
        waits=record.waits,
        asked=asked(record.questions) if how is ExitKind.PAUSED else (),
    )


def record_of(graph: Graph, state: StateSnapshot) -> ThreadRecord:
    """Returns what a state says that is the newest of its thread."""
    interrupts = {
        task.id: [show_interrupt(each) for each in task.interrupts]
        for task in state.tasks
        if task.interrupts
    }
    if state.metadata is None:
        return ThreadRecord(None, None, None, b"{}", (), waits=False)
    output = output_of(graph, state.values)
    told = output if _is_listed(graph.output_channels) else {}
    return ThreadRecord(
        values=encode(state.values),
        output=encode(output),
        pause=encode({**told, INTERRUPT: state.interrupts}) if state.next else None,
        interrupts=encode(interrupts),
        questions=state.interrupts,
        waits=bool(state.next),
    )


def hides_state(graph: Graph) -> bool:
    """Returns whether the graph's output schema leaves some of its state out."""
    return graph.output_channels != graph.stream_channels_asis


def output_of(graph: Graph, values: Any) -> Any:
    """Returns what the graph's output schema has of the state's values."""
    if not hides_state(graph) or not isinstance(values, dict):
        return values
    channels = graph.output_channels
    if not _is_listed(channels):
        return values.get(channels)
    return {name: values[name] for name in channels if name in values}


def _is_listed(channels: str | Sequence[str]) -> bool:
    """Returns whether the values are a mapping by channel, and not one channel's value."""
    return not isinstance(channels, str)
