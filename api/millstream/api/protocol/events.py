"""What a thread's runs store → the events of the protocol, and which of them a client wants.

The root's lifecycle is not stored: it follows from the entries with which every run begins and ends, so that it
is right for a run of any kind, also for one whose worker died.
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
    """What wait and join would answer with, as far as it tells how a run ended."""

    interrupts: msgspec.Raw | msgspec.UnsetType = msgspec.field(
        name="__interrupt__", default=msgspec.UNSET
    )
    error: _Error | None = msgspec.field(name="__error__", default=None)

    @property
    def waits(self) -> bool:
        """Whether the run has paused; what a graph returned may have the key too, but no list there."""
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


Wants = Callable[[Position, bytes, bytes], bool]  # of an event: where it is, method, params


class Wanted:
    """The events that a client asked for: those after a position, of some channels and namespaces."""

    def __init__(self, asked: EventFilter, after: Position) -> None:
        """`asked` is the client's filter; events up to `after` are left out."""
        self.after = after
        self._methods = frozenset(
            (INPUT_REQUESTED if channel == "input" else channel).encode()
            for channel in asked.channels
        )
        self._names = frozenset(
            channel.removeprefix(CUSTOM_PREFIX)
            for channel in asked.channels
            if channel.startswith(CUSTOM_PREFIX)
        )
        self._prefixes: Sequence[Namespace] | None = asked.namespaces or None
        if asked.depth is not None and self._prefixes is None:
            self._prefixes = [[]]
        self._depth = asked.depth

    def has(self, position: Position, method: bytes, params: bytes) -> bool:
        """Returns whether the event is among them; reads no more of it than it must."""
        if position <= self.after:
            return False
        named = method == b"custom" and self._names and method not in self._methods
        if not named and method not in self._methods:
            return False
        if not named and self._prefixes is None:
            return True
        read = decode_params(params)
        return (not named or _name(read.data).name in self._names) and self._lies_within(read)

    def _lies_within(self, params: Params) -> bool:
        if self._prefixes is None:
            return True
        return any(
            begins_with(params.namespace, prefix)
            and (self._depth is None or len(params.namespace) - len(prefix) <= self._depth)
            for prefix in self._prefixes
        )


def begins_with(namespace: Namespace, prefix: Namespace) -> bool:
    """Returns whether the namespace lies in the prefix, in which `child` stands for any `child:<id>`."""
    return len(prefix) <= len(namespace) and all(
        wanted == part or (":" not in wanted and part.partition(":")[0] == wanted)
        for part, wanted in zip(namespace, prefix, strict=False)
    )


def telling(wants: Wants) -> Translate:
    """Returns what a client that wants these events is told of the entries of a thread."""

    def tell(segment: Segment, entry: Entry) -> Iterable[Entry]:
        if entry.event == b"gap":
            yield entry
            return
        if entry.event == b"error":
            told = _too_large(entry)
            if told is not None:
                yield told
            return
        found = event_of(segment, entry)
        if found is not None and wants(entry.position, *found):
            method, params = found
            # An end that no script wrote (the run is gone) stands where the last event stood.
            mark = b"" if entry.at or entry.event != b"end" else b"~"
            yield ProtocolEntry(
                entry.position,
                method,
                b'{"type":"event","event_id":"%b%b","seq":%d,"method":"%b","params":%b}'
                % (entry.id, mark, seq_of(entry.position), method, params),
            )

    return tell


def event_of(segment: Segment, entry: Entry) -> tuple[bytes, bytes] | None:
    """Returns the method and the params (JSON) of the entry, None if it is no event of the protocol."""
    if segment.is_update:
        return None
    if entry.event.startswith(MARKED):
        return entry.event[len(MARKED) :], entry.data
    at = entry.at or segment.began_at
    if entry.event == b"metadata":
        return b"lifecycle", _params((), at, _lifecycle(segment, "running"))
    if entry.event == b"end":
        return b"lifecycle", _params((), at, _lifecycle(segment, *how_it_ended(entry)))
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


def how_it_ended(end: Entry) -> tuple[str, str | None]:
    """Returns the protocol's word for how a run ended, and what went wrong.

    A cancelled run has failed: `interrupted` is one that goes on when it is answered, and clients wait for it. One
    that a newer run displaced is `interrupted`: the thread goes on with that one, and whoever waits, waits for it.
    """
    status = _end(end.data).status
    if status is RunStatus.INTERRUPTED:
        displaced = end.reason == CancelReason.SUPERSEDED
        return ("interrupted", None) if displaced else ("failed", CANCELLED)
    try:
        told = _output(end.output or b"{}")
    except msgspec.DecodeError:  # a state that is no object
        told = _Output()
    if status is RunStatus.SUCCESS:
        return ("interrupted" if told.waits else "completed"), None
    return "failed", told.error.message if told.error else f"The run ended: {status}."


def _lifecycle(segment: Segment, event: str, error: str | None = None) -> dict[str, Any]:
    data = {"event": event}
    if segment.graph_id:
        data["graph_name"] = segment.graph_id
    if error is not None:
        data["error"] = error
    return data


def _params(namespace: Namespace, at: int, data: Any) -> bytes:
    return msgspec.json.encode({"namespace": namespace, "timestamp": at, "data": data})


def _too_large(entry: Entry) -> Entry | None:
    """Returns what stands for an event that was too large to keep; other errors are told by the end."""
    error = _error(entry.data)
    if error.error != "EventTooLarge":
        return None
    told = {"type": "error", "id": None, "error": "unknown_error", "message": error.message}
    return ProtocolEntry(entry.position, b"error", msgspec.json.encode(told))
