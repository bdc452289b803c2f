"""The journal of a run: which workers claimed it, and how each attempt ended. Scripts write it (parts/journal.lua)."""

from dataclasses import dataclass, field, replace
from typing import Final

# How an attempt ended, beside a Cause of lifecycle.py, which also ends the run.
LAPSED: Final = (
    "lapsed"  # its lease was not renewed: the worker died, stood still, or could not reach Redis
)
LAPSED_ALONE: Final = "lapsed_alone"  # the same, while the worker executed no other run
HANDED_BACK: Final = "handed_back"  # the worker gave it up; `detail` has its StopReason
CRASHED: Final = "crashed"  # the process that executed it alone has ended; `detail` says how
DROPPED: Final = b"dropped"


@dataclass(frozen=True, slots=True)
class AttemptEntry:
    """One claim of a run. Times are ms since the epoch, of Redis' clock."""

    number: int
    """From 1. A hand-back uses up no attempt, so the next entry has the same number."""
    worker_id: str
    fence: int
    claimed_at: int
    waited: int
    """ms between the time at which the run was due and the claim."""
    ended_at: int | None = None
    """None while the worker holds the run, or until another one has taken over its lapsed lease."""
    outcome: str | None = None
    """One of the constants above, or a Cause that ended the run."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened to a run beside its attempts: `unserved` or `repaired`."""

    at: int  # ms
    what: str


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of a run, oldest entry first."""

    attempts: list[AttemptEntry] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    cause: str | None = None
    """The Cause that ended the run; None while it has not ended."""
    ended_at: int | None = None  # ms
    is_complete: bool = True
    """False if the oldest entries were dropped."""

    @property
    def holder(self) -> AttemptEntry | None:
        """The latest attempt, if it has not ended."""
        latest = self.attempts[-1] if self.attempts else None
        return latest if latest is not None and latest.outcome is None else None


def parse_journal(text: bytes | None) -> Journal:
    """Returns the journal in the field of a run's record. Skips lines that it does not know."""
    attempts: list[AttemptEntry] = []
    notes: list[Note] = []
    cause, ended_at = None, None
    lines = text.split(b"\n") if text else []
    for line in lines:
        what, _, rest = line.decode(errors="replace").partition(" ")
        time, _, detail = rest.partition(" ")
        if not time.isdigit():
            continue
        at = int(time)
        match what:
            case "claimed":
                attempts += _claimed(at, detail)
            case "lapsed" | "lapsed_alone" | "handed_back" | "crashed":
                _close(attempts, at, what, detail)
            case "ended":
                cause, ended_at = detail, at
                _close(attempts, at, detail)
            case "unserved" | "repaired":
                notes.append(Note(at, what))
    return Journal(attempts, notes, cause, ended_at, is_complete=DROPPED not in lines[:1])


def _claimed(at: int, detail: str) -> list[AttemptEntry]:
    try:
        number, fence, waited, worker_id = detail.split(" ", 3)
        return [AttemptEntry(int(number), worker_id, int(fence), at, int(waited))]
    except ValueError:
        return []


def _close(attempts: list[AttemptEntry], at: int, outcome: str, detail: str = "") -> None:
    """Ends the latest attempt, if it has not ended."""
    if attempts and attempts[-1].outcome is None:
        attempts[-1] = replace(attempts[-1], ended_at=at, outcome=outcome, detail=detail)
