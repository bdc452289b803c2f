"""The life cycle of a run: every status and every cause that may change it, in one table.

No other module decides which status follows another: the scripts get the edges of this table as arguments. The values
of the statuses are those of the SDK's `RunStatus` and `ThreadStatus`.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class RunStatus(StrEnum):
    """The statuses of a run. The comments say what changes them."""

    PENDING = "pending"  # until a worker claims it, or a cancel ends it
    RUNNING = "running"  # until the worker that holds the lease ends it, or its lease lapses
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"  # cancelled; a run that stops at interrupt() is a success


class ThreadStatus(StrEnum):
    """The statuses of a thread."""

    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class Cause(StrEnum):
    """What changes a status."""

    CLAIMED = "claimed"  # a worker claimed the run
    LAPSED = "lapsed"  # its lease lapsed; the run waits for its next attempt
    HANDED_BACK = "handed_back"  # its worker gave it up, which uses no attempt
    EXHAUSTED = "exhausted"  # its lease lapsed and no attempt is left
    STRANDED = "stranded"  # its thread is lost, and no worker holds it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"  # by a client, by its disconnect, or by a newer run of the thread


S, C = RunStatus, Cause
TRANSITIONS: Final = MappingProxyType(
    {
        (S.PENDING, C.CLAIMED): S.RUNNING,
        (S.PENDING, C.CANCELLED): S.INTERRUPTED,
        (S.PENDING, C.STRANDED): S.ERROR,
        (S.RUNNING, C.LAPSED): S.PENDING,
        (S.RUNNING, C.HANDED_BACK): S.PENDING,
        (S.RUNNING, C.EXHAUSTED): S.ERROR,
        (S.RUNNING, C.STRANDED): S.ERROR,
        (S.RUNNING, C.SUCCEEDED): S.SUCCESS,
        (S.RUNNING, C.FAILED): S.ERROR,
        (S.RUNNING, C.TIMED_OUT): S.TIMEOUT,
        (S.RUNNING, C.CANCELLED): S.INTERRUPTED,
    }
)
TERMINAL: Final = frozenset(RunStatus) - {status for status, _ in TRANSITIONS}


def follow(status: RunStatus, cause: Cause) -> RunStatus | None:
    """Returns the status that `cause` leads to; None if the table has no such edge."""
    return TRANSITIONS.get((status, cause))


def edges(cause: Cause) -> list[str]:
    """Returns `[from, to, from, to, …]`: the edges of a cause, as scripts take them."""
    return [
        status for (s, c), t in TRANSITIONS.items() if c is cause for status in (s.value, t.value)
    ]
