"""The stream modes: one row each, from which every list of modes is derived.

The worker decides what a mode streams (worker/events.py, worker/protocol_stream.py). A mode whose events are
LangGraph's own, unchanged, needs only its row. Source of the names: the LangGraph Platform API.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

ONE_LINE: Final = {10: " ", 13: " "}


class Form(Enum):
    """How an event's data in the event streaming protocol differ from those in the stream of a run."""

    SAME = auto()
    NODE = auto()  # `{"node": n, "values": v}` for `{n: v}`
    PAYLOAD = auto()  # `{"payload": p}` for `p`


@dataclass(frozen=True, slots=True)
class StreamMode:
    """A mode in which the events of a run can be streamed.

    Attributes:
        name: the value of `stream_mode`.
        library_modes: LangGraph's modes from which its events are made; empty for `astream_events`.
        events: the names of its events, without a namespace.
        nests: whether the name of a subgraph's event ends with its namespace, as in `values|child:…`.
        channel: its channel in the event streaming protocol, whose commands start runs in all modes with a channel.
        form: the protocol's form of the same events; None if the protocol has other events, or no events.
    """

    name: str
    library_modes: tuple[str, ...]
    events: tuple[str, ...]
    nests: bool = True
    channel: str | None = None
    form: Form | None = None

    def event_name(self, namespace: Sequence[str], event: str = "") -> str:
        """Returns the name of a graph's event: `event`, by default the first of `events`, with its namespace.

        It is one line, whatever the name of a node is.
        """
        event = event or self.events[0]
        return (
            "|".join((event, *namespace)).translate(ONE_LINE) if self.nests and namespace else event
        )


def _library_mode(name: str, channel: str | None = None, form: Form | None = None) -> StreamMode:
    """Returns a mode that is LangGraph's mode of that name."""
    return StreamMode(name, (name,), (name,), channel=channel, form=form)


MODES: Final = {
    mode.name: mode
    for mode in (
        _library_mode("values", channel="values", form=Form.SAME),
        _library_mode("updates", channel="updates", form=Form.NODE),
        StreamMode(
            "messages",
            ("messages",),
            ("messages/metadata", "messages/partial", "messages/complete"),
            nests=False,
            channel="messages",
        ),
        StreamMode("messages-tuple", ("messages",), ("messages",)),
        _library_mode("tools", channel="tools"),
        StreamMode("lifecycle", ("tasks",), ("lifecycle",), channel="lifecycle"),
        _library_mode("custom", channel="custom", form=Form.PAYLOAD),
        _library_mode("tasks", channel="tasks", form=Form.SAME),
        _library_mode("checkpoints", channel="checkpoints", form=Form.SAME),
        StreamMode("events", (), ("events",), nests=False),
        _library_mode("debug"),
    )
}


def table() -> str:
    """Returns the table of modes in docs/api.md."""
    lines = [
        "| `stream_mode` | events | of subgraphs | channel | in both |",
        "|---|---|---|---|---|",
    ]
    for mode in MODES.values():
        events = ", ".join(f"`{event}`" for event in mode.events)
        nested = f"`{mode.events[0]}\\|child:…`" if mode.nests else "the same"
        channel = f"`{mode.channel}`" if mode.channel else ""
        lines.append(
            f"| `{mode.name}` | {events} | {nested} | {channel} | {'yes' if mode.form else ''} |"
        )
    return "\n".join([*lines, ""])
