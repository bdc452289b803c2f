"""The entries of event streams, and their positions."""

from dataclasses import dataclass
from typing import Final

from millstream.shared.scripts.runs.read_events import RawEntry

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


def parse_entry(raw: RawEntry) -> Entry:
    """Parses an entry that XRANGE returned."""
    seq, _, index = raw[0].partition(b"-")
    fields = raw[1]
    event, data = next(iter(fields.items()))
    if len(fields) == 1:
        return Entry((int(seq), int(index)), event, data)
    return Entry(
        (int(seq), int(index)),
        event,
        data,
        fields.get(b"output"),
        fields.get(b"first") == b"1",
        int(fields.get(b"at", 0)),
        fields.get(b"reason", b"").decode(),
    )
