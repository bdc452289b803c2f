"""How a run ended → the fields of its final record. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from millstream.shared.rules.lifecycle import Cause, ThreadStatus


class ExitKind(Enum):
    """The ways in which the execution of a graph ends."""

    COMPLETED = auto()  # no node is left to execute
    PAUSED = auto()  # at interrupt() or at a breakpoint
    RAISED = auto()
    CANCELLED = auto()
    TIMED_OUT = auto()
    EXHAUSTED = auto()  # not executed again, as its process has died too often


@dataclass(frozen=True, slots=True)
class FinalRecord:
    """The end of a run in the records of the run and of its thread."""

    cause: Cause
    idle_status: ThreadStatus
    error: dict[str, str] | None  # of the run and of the thread
    is_reported: bool  # whether the error is also an event of the stream and the response of wait


def final_record(
    kind: ExitKind, error: dict[str, str] | None, *, timeout: float, has_next: bool | None = None
) -> FinalRecord:
    """Returns the final record of a run.

    A run that pauses is a success whose thread is interrupted. Source: the reference server. A cancelled run
    leaves its thread interrupted if nodes are left to execute, or if that is unknown.

    Args:
        error: the exception of a run that raised, or the reason for which the run is given up.
        timeout: BG_JOB_TIMEOUT_SECS, in seconds.
        has_next: whether nodes are left to execute; None if it is unknown.
    """
    match kind:
        case ExitKind.COMPLETED:
            return FinalRecord(Cause.SUCCEEDED, ThreadStatus.IDLE, None, is_reported=False)
        case ExitKind.PAUSED:
            return FinalRecord(Cause.SUCCEEDED, ThreadStatus.INTERRUPTED, None, is_reported=False)
        case ExitKind.RAISED:
            return FinalRecord(Cause.FAILED, ThreadStatus.ERROR, error, is_reported=True)
        case ExitKind.TIMED_OUT:
            message = (
                f"The run took longer than {timeout:g} s, the limit of this server "
                "(BG_JOB_TIMEOUT_SECS)."
            )
            error = {"error": "TimeoutError", "message": message}
            return FinalRecord(Cause.TIMED_OUT, ThreadStatus.ERROR, error, is_reported=True)
        case ExitKind.EXHAUSTED:
            return FinalRecord(Cause.EXHAUSTED, ThreadStatus.ERROR, error, is_reported=True)
        case ExitKind.CANCELLED:
            error = {"error": "UserInterrupt", "message": "The run was cancelled."}
            idle_status = ThreadStatus.IDLE if has_next is False else ThreadStatus.INTERRUPTED
            return FinalRecord(Cause.CANCELLED, idle_status, error, is_reported=False)


def exhausted_error(attempts: int, crash: str) -> dict[str, str]:
    """Returns the error of a run that ended its process too often; `crash` says how its last process ended."""
    last = f"its process {crash}" if crash else "its worker died or stood still"
    message = (
        f"The run was given up after {attempts} attempts: it ends the process that executes it. In the last "
        f"attempt the process executed nothing else, and {last}. Look for os._exit(), for a crash or an endless "
        "loop in native code, and for memory that runs out."
    )
    return {"error": "AttemptsExhausted", "message": message}
