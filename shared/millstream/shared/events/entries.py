"""The entries of event streams, and their places."""

from dataclasses import dataclass
from typing import Final

from millstream.shared.scripts.runs.read_events import RawEntry

Position = tuple[int, int]  # an entry's id: the seq of its run (sequence.lua), place in it
START: Final[Position] = (0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as the stream holds it."""

    position: Position
    event: bytes
    data: bytes  # JSON
    output: bytes | None = None  # of the `end` entry: what wait and join answer with
    first: bool = False  # the metadata of the first claim
    at: int = 0  # ms since the epoch, of entries that begin or end something
    reason: str = ""  # of the `end` entry of a run that was cancelled: why it was

    @property
    def id(self) -> bytes:
        """The event's id on the wire."""
        return b"%d-%d" % self.position

    @property
    def is_first(self) -> bool:
        """Whether nothing can have stood before it: the first claim's metadata, or a lone end."""
        return self.event == b"end" or self.first

    def before(self) -> Position:
        """The position right before this one."""
        seq, index = self.position
        return (seq, index - 1) if index else (seq - 1, 2**64 - 1)


def format_position(position: Position) -> str:
    """Returns the id that Redis and clients know it by."""
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
    """Returns an entry as Redis has it."""
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
