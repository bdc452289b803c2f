"""How a run ended → what is written of it. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from millstream.shared.rules.lifecycle import Cause, ThreadStatus


class ExitKind(Enum):
    """The ways in which the execution of a graph comes to its end."""

    COMPLETED = auto()  # nothing is left to do
    PAUSED = auto()  # it stopped at interrupt() or at a breakpoint
    RAISED = auto()
    CANCELLED = auto()
    TIMED_OUT = auto()
    EXHAUSTED = auto()  # not executed: it has crashed too often


@dataclass(frozen=True, slots=True)
class FinalRecord:
    """What the record of the run and of its thread say of the end."""

    cause: Cause
    idle_status: ThreadStatus
    error: dict[str, str] | None  # for the thread and the record
    shown: bool  # whether the error is also an event of the stream, and the answer of wait


def final_record(
    how: ExitKind, error: dict[str, str] | None, *, timeout: float, waits: bool | None = None
) -> FinalRecord:
    """Returns the outcome; `error` is the exception of a run that raised, or why it is given up.

    A run that pauses is a success whose thread is interrupted: the reference has it so. A cancelled run
    leaves its thread interrupted if nodes are left to run (`waits`), or if nobody knows.
    """
    match how:
        case ExitKind.COMPLETED:
            return FinalRecord(Cause.SUCCEEDED, ThreadStatus.IDLE, None, shown=False)
        case ExitKind.PAUSED:
            return FinalRecord(Cause.SUCCEEDED, ThreadStatus.INTERRUPTED, None, shown=False)
        case ExitKind.RAISED:
            return FinalRecord(Cause.FAILED, ThreadStatus.ERROR, error, shown=True)
        case ExitKind.TIMED_OUT:
            message = (
                f"The run took longer than {timeout:g} s, the most that this server allows "
                "(BG_JOB_TIMEOUT_SECS)."
            )
            told = {"error": "TimeoutError", "message": message}
            return FinalRecord(Cause.TIMED_OUT, ThreadStatus.ERROR, told, shown=True)
        case ExitKind.EXHAUSTED:
            return FinalRecord(Cause.EXHAUSTED, ThreadStatus.ERROR, error, shown=True)
        case ExitKind.CANCELLED:
            told = {"error": "UserInterrupt", "message": "The run was cancelled."}
            left = ThreadStatus.IDLE if waits is False else ThreadStatus.INTERRUPTED
            return FinalRecord(Cause.CANCELLED, left, told, shown=False)


def exhausted(attempts: int, crash: str) -> dict[str, str]:
    """Returns the error of a run that ended its process too often; `crash` is how it did so last."""
    last = f"its process {crash}" if crash else "its worker died or stood still"
    message = (
        f"The run was given up after {attempts} attempts: it ends the process that executes it. In the last "
        f"one nothing else was executed there, and {last}. Look for os._exit(), for a crash or an endless "
        "loop in native code, and for memory that runs out."
    )
    return {"error": "AttemptsExhausted", "message": message}
