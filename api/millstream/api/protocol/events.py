"""Converts the stored entries of a thread's runs to the protocol's events, and filters them for a client.

The root graph's lifecycle is not stored. It follows from the first and last entry of each run, so that it is correct
for every run, also for one whose worker died.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from millstream.api.protocol.schemas import EventFilter
from millstream.shared.events.entries import Entry, Position
from millstream.shared.events.modes import Form
from millstream.shared.events.protocol import (
    CUSTOM_PREFIX,
    INPUT_REQUESTED,
    MARKED,
    METHOD_AND_FORM,
    Params,
    decode_params,
    seq_of,
)
from millstream.shared.events.thread_stream import Segment, Translate
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelReason

Namespace = Sequence[str]
CANCELLED: Final = "The run was cancelled."


class _Error(msgspec.Struct):
    error: str = ""
    message: str = ""


class _Output(msgspec.Struct):
    """The fields of a run's final output that tell how the run ended."""

    interrupts: msgspec.Raw | msgspec.UnsetType = msgspec.field(
        name="__interrupt__", default=msgspec.UNSET
    )
    error: _Error | None = msgspec.field(name="__error__", default=None)

    @property
    def waits(self) -> bool:
        """Whether the run has paused. A graph's own output may have the key too, but without a list."""
        raw = b"" if self.interrupts is msgspec.UNSET else bytes(self.interrupts)
        return raw.startswith(b"[")


class _End(msgspec.Struct):
    status: RunStatus


class _Name(msgspec.Struct):
    name: Any = None


_error = msgspec.json.Decoder(_Error).decode
_output = msgspec.json.Decoder(_Output).decode
_end = msgspec.json.Decoder(_End).decode
_name = msgspec.json.Decoder(_Name).decode


@dataclass(frozen=True, slots=True)
class ProtocolEntry(Entry):
    """An event of the protocol."""

    @property
    def id(self) -> bytes:
        """Its `seq`."""
        return b"%d" % seq_of(self.position)


Matches = Callable[[Position, bytes, bytes], bool]  # an event's position, method and params


class EventMatcher:
    """Matches the events of a client's filter after a position."""

    def __init__(self, query: EventFilter, after: Position) -> None:
        """`query` is the client's filter. Events up to `after` do not match."""
        self.after = after
        self._methods = frozenset(
            (INPUT_REQUESTED if channel == "input" else channel).encode()
            for channel in query.channels
        )
        self._names = frozenset(
            channel.removeprefix(CUSTOM_PREFIX)
            for channel in query.channels
            if channel.startswith(CUSTOM_PREFIX)
        )
        self._prefixes: Sequence[Namespace] | None = query.namespaces or None
        if query.depth is not None and self._prefixes is None:
            self._prefixes = [[]]
        self._depth = query.depth

    def matches(self, position: Position, method: bytes, params: bytes) -> bool:
        """Returns whether the event matches. Decodes `params` only if the filter needs it."""
        if position <= self.after:
            return False
        is_by_name = method == b"custom" and self._names and method not in self._methods
        if not is_by_name and method not in self._methods:
            return False
        if not is_by_name and self._prefixes is None:
            return True
        decoded = decode_params(params)
        return (not is_by_name or _name(decoded.data).name in self._names) and self._lies_within(
            decoded
        )

    def _lies_within(self, params: Params) -> bool:
        if self._prefixes is None:
            return True
        return any(
            begins_with(params.namespace, prefix)
            and (self._depth is None or len(params.namespace) - len(prefix) <= self._depth)
            for prefix in self._prefixes
        )


def begins_with(namespace: Namespace, prefix: Namespace) -> bool:
    """Returns whether the namespace begins with the prefix, in which `child` matches any `child:<id>`."""
    return len(prefix) <= len(namespace) and all(
        expected == part or (":" not in expected and part.partition(":")[0] == expected)
        for part, expected in zip(namespace, prefix, strict=False)
    )


def protocol_translator(matches: Matches) -> Translate:
    """Returns a function that converts the entries of a thread to the protocol's events that match."""

    def translate(segment: Segment, entry: Entry) -> Iterable[Entry]:
        if entry.event == b"gap":
            yield entry
            return
        if entry.event == b"error":
            error_event = _too_large_event(entry)
            if error_event is not None:
                yield error_event
            return
        event = event_of(segment, entry)
        if event is not None and matches(entry.position, *event):
            method, params = event
            # The end of a deleted run was not stored: it has the position of the last event.
            mark = b"" if entry.at or entry.event != b"end" else b"~"
            yield ProtocolEntry(
                entry.position,
                method,
                b'{"type":"event","event_id":"%b%b","seq":%d,"method":"%b","params":%b}'
                % (entry.id, mark, seq_of(entry.position), method, params),
            )

    return translate


def event_of(segment: Segment, entry: Entry) -> tuple[bytes, bytes] | None:
    """Returns the method and the params (JSON) of the entry, or None if the protocol has no event for it."""
    if segment.is_update:
        return None
    if entry.event.startswith(MARKED):
        return entry.event[len(MARKED) :], entry.data
    at = entry.at or segment.began_at
    if entry.event == b"metadata":
        return b"lifecycle", _params((), at, _lifecycle(segment, "running"))
    if entry.event == b"end":
        return b"lifecycle", _params((), at, _lifecycle(segment, *final_lifecycle(entry)))
    name, *namespace = entry.event.split(b"|")
    if name not in METHOD_AND_FORM:
        return None
    method, form = METHOD_AND_FORM[name]
    data: Any = msgspec.Raw(entry.data)
    if form is Form.PAYLOAD:
        data = {"payload": data}
    elif form is Form.NODE:
        [(node, update)] = msgspec.json.decode(entry.data, type=dict[str, msgspec.Raw]).items()
        data = {"node": node, "values": update}
    return method, _params([part.decode() for part in namespace], at, data)


def final_lifecycle(end: Entry) -> tuple[str, str | None]:
    """Returns the protocol's status of an ended run, and its error message.

    A cancelled run is `failed`: after `interrupted`, clients wait for the run to resume. A run that a newer run
    displaced is `interrupted`: the thread continues with the newer run, and clients wait for that one.
    """
    status = _end(end.data).status
    if status is RunStatus.INTERRUPTED:
        displaced = end.reason == CancelReason.SUPERSEDED
        return ("interrupted", None) if displaced else ("failed", CANCELLED)
    try:
        output = _output(end.output or b"{}")
    except msgspec.DecodeError:  # a state that is not an object
        output = _Output()
    if status is RunStatus.SUCCESS:
        return ("interrupted" if output.waits else "completed"), None
    return "failed", output.error.message if output.error else f"The run ended: {status}."


def _lifecycle(segment: Segment, event: str, error: str | None = None) -> dict[str, Any]:
    data = {"event": event}
    if segment.graph_id:
        data["graph_name"] = segment.graph_id
    if error is not None:
        data["error"] = error
    return data


def _params(namespace: Namespace, at: int, data: Any) -> bytes:
    return msgspec.json.encode({"namespace": namespace, "timestamp": at, "data": data})


def _too_large_event(entry: Entry) -> Entry | None:
    """Returns the error event for an event that was too large to store. The run's end reports other errors."""
    error = _error(entry.data)
    if error.error != "EventTooLarge":
        return None
    body = {"type": "error", "id": None, "error": "unknown_error", "message": error.message}
    return ProtocolEntry(entry.position, b"error", msgspec.json.encode(body))
