"""What a check reports: a problem, how bad it is, why it matters, and what solves it."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a problem is, the worst first."""

    ERROR = "error"
    """Runs fail or do not run, or will be lost."""
    WARNING = "warning"
    """Runs may be lost, delayed or interrupted under load or by a fault."""
    NOTE = "note"
    """Nothing is wrong yet, but an operator should know it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    Attributes:
        what: what is wrong: a sentence without its full stop.
        why: what follows from it: likewise, beginning in lower case.
        mend: the command or the setting that solves it: likewise.
    """

    severity: Severity
    what: str
    why: str
    mend: str

    @property
    def text(self) -> str:
        """The problem as one message for a log."""
        return f"{self.what}: {self.why}. To correct this: {self.mend}."


def error(what: str, why: str, mend: str) -> Problem:
    """Returns a problem of the severity `error`."""
    return Problem(Severity.ERROR, what, why, mend)


def warning(what: str, why: str, mend: str) -> Problem:
    """Returns a problem of the severity `warning`."""
    return Problem(Severity.WARNING, what, why, mend)


def note(what: str, why: str, mend: str) -> Problem:
    """Returns a problem of the severity `note`."""
    return Problem(Severity.NOTE, what, why, mend)


def count(number: int, noun: str) -> str:
    """Returns the number with its noun: `1 run`, `2 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listing(names: list[str], limit: int = 5) -> str:
    """Returns the first names, and how many there are in addition."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest:,} more" if rest > 0 else "")
