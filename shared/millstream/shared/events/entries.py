"""The entries of event streams, and their positions."""

from dataclasses import dataclass
from typing import Final

from millstream.shared.errors import SealedError
from millstream.shared.scripts.runs.read_events import RawEntry
from millstream.shared.sealing import KeyRing
from millstream.shared.sealing.locations import of_stream
from millstream.shared.wire import SEALED, to_json

Position = tuple[
    int, int
]  # an entry's id: the seq of its segment (parts/sequence.lua), index in it
START: Final[Position] = (0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a stream."""

    position: Position
    event: bytes
    data: bytes  # JSON
    output: bytes | None = None  # JSON, of the `end` entry: the response of wait and join
    first: bool = False  # `metadata` of the first attempt, or an update
    at: int = 0  # ms since the epoch, of entries that begin or end an attempt, a run or an update
    reason: str = ""  # of the `end` entry of a cancelled run (CancelReason)

    @property
    def id(self) -> bytes:
        """The event's id on the wire."""
        return b"%d-%d" % self.position

    @property
    def is_first(self) -> bool:
        """Whether no event can have preceded it: `first`, or an `end` that is the only entry left."""
        return self.event == b"end" or self.first

    def before(self) -> Position:
        """The position right before this one."""
        seq, index = self.position
        return (seq, index - 1) if index else (seq - 1, 2**64 - 1)


def format_position(position: Position) -> str:
    """Returns the id that Redis and clients use for it."""
    return f"{position[0]}-{position[1]}"


def parse_position(text: str) -> Position | None:
    """Returns the position that an event id names, or None for a malformed one."""
    seq, dash, index = text.strip().partition("-")
    if not (dash and seq.isascii() and index.isascii() and seq.isdigit() and index.isdigit()):
        return None
    if len(seq) > 19 or len(index) > 19:
        return None
    return int(seq), int(index)


def parse_position_of(raw: RawEntry) -> Position:
    """Returns the position of an entry that XRANGE returned."""
    seq, _, index = raw[0].partition(b"-")
    return int(seq), int(index)


def parse_entry(raw: RawEntry, key: str, key_ring: KeyRing) -> Entry:
    """Parses an entry of the stream `key` that XRANGE returned, and opens its data.

    If no key opens the data, the entry becomes an `error` event that says why, so that no stream breaks off or waits.
    """
    position = parse_position_of(raw)
    fields = raw[1]
    event, data = next(iter(fields.items()))
    if data.startswith(SEALED):
        event, data = _open(event, data, key, key_ring)
    if len(fields) == 1:
        return Entry(position, event, data)
    return Entry(
        position,
        event,
        data,
        _open_output(fields.get(b"output"), key, key_ring),
        fields.get(b"first") == b"1",
        int(fields.get(b"at", 0)),
        fields.get(b"reason", b"").decode(),
    )


def _open(event: bytes, data: bytes, key: str, key_ring: KeyRing) -> tuple[bytes, bytes]:
    """Returns the event with its plain data, or an `error` event."""
    try:
        return event, key_ring.open(of_stream(key, "event"), data)
    except SealedError as error:
        return b"error", to_json(_describe(error))


def _open_output(output: bytes | None, key: str, key_ring: KeyRing) -> bytes | None:
    """Returns the plain output; if no key opens it, a response that says why."""
    if not output:
        return output
    try:
        return key_ring.open(of_stream(key, "output"), output)
    except SealedError as error:
        return unreadable_output(error)


def unreadable_output(error: SealedError) -> bytes:
    """Returns the response of wait and join in place of an output that no key opens."""
    return to_json({"__error__": _describe(error)})


def _describe(error: SealedError) -> dict[str, str]:
    return {"error": "SealedError", "message": str(error)}
