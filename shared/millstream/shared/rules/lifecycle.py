"""The life of a run: every status, every cause that may change it, in one table.

Nothing else in the house decides that one status follows another: the scripts are given the
edges of this table as arguments. The words of the statuses are those of the SDK's `RunStatus`
and `ThreadStatus`.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class RunStatus(StrEnum):
    """The statuses of a run; the comment says who moves it on."""

    PENDING = "pending"  # moved on by a worker's claim, or by a cancel
    RUNNING = "running"  # moved on by the worker that holds the lease, or by the claim after it
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
    """What moves a status."""

    CLAIMED = "claimed"  # a worker took the run, its lease and its fence
    LAPSED = "lapsed"  # the lease ran out; the run waits for its next attempt
    HANDED_BACK = "handed_back"  # its worker stops and gives it up, which uses no attempt
    EXHAUSTED = "exhausted"  # the lease ran out and no attempt is left
    STRANDED = "stranded"  # its thread is gone, and nobody holds it
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
    """Returns the status that `cause` leads to, or None where the table has no such cell."""
    return TRANSITIONS.get((status, cause))


def edges(cause: Cause) -> list[str]:
    """Returns `[from, to, from, to, …]`: the cells of one cause, as the scripts take them."""
    return [word for (s, c), t in TRANSITIONS.items() if c is cause for word in (s.value, t.value)]
