"""The result of a run → the fields of its record."""

import pytest

from millstream.shared.rules.lifecycle import Cause, RunStatus, ThreadStatus, follow
from millstream.worker.final_record import ExitKind, exhausted_error, final_record

ERROR = {"error": "ValueError", "message": "boom"}
TABLE = {
    ExitKind.COMPLETED: (RunStatus.SUCCESS, ThreadStatus.IDLE, None, False),
    ExitKind.PAUSED: (RunStatus.SUCCESS, ThreadStatus.INTERRUPTED, None, False),
    ExitKind.RAISED: (RunStatus.ERROR, ThreadStatus.ERROR, "ValueError", True),
    ExitKind.CANCELLED: (RunStatus.INTERRUPTED, ThreadStatus.INTERRUPTED, "UserInterrupt", False),
    ExitKind.TIMED_OUT: (RunStatus.TIMEOUT, ThreadStatus.ERROR, "TimeoutError", True),
    ExitKind.EXHAUSTED: (RunStatus.ERROR, ThreadStatus.ERROR, "ValueError", True),
}


def test_every_exit_kind_is_in_the_table() -> None:
    assert set(TABLE) == set(ExitKind)


@pytest.mark.parametrize("how", ExitKind)
def test_each_exit_kind_writes_its_record(how: ExitKind) -> None:
    status, thread, error, recorded = TABLE[how]
    result = final_record(how, ERROR, timeout=1.5)
    assert follow(RunStatus.RUNNING, result.cause) is status
    assert result.idle_status is thread
    assert (result.error or {}).get("error") == error
    assert result.is_reported is recorded


def test_error_messages_name_the_cause() -> None:
    late = final_record(ExitKind.TIMED_OUT, None, timeout=3600.0).error
    assert late is not None
    assert late["error"] == "TimeoutError"
    assert late["message"].startswith("The run took longer than 3600 s, the limit of this server")
    crashed = exhausted_error(3, "was ended by signal 11 (SIGSEGV)")
    assert crashed["error"] == "AttemptsExhausted"
    assert "3 attempts" in crashed["message"]
    assert "SIGSEGV" in crashed["message"]
    assert "worker died" in exhausted_error(3, "")["message"]
    assert final_record(ExitKind.RAISED, ERROR, timeout=1).error == ERROR


def test_an_earlier_error_is_cleared() -> None:
    for how in (ExitKind.COMPLETED, ExitKind.PAUSED):
        assert final_record(how, ERROR, timeout=1).error is None
    assert final_record(ExitKind.CANCELLED, ERROR, timeout=1).cause is Cause.CANCELLED


@pytest.mark.parametrize(
    ("has_next", "thread"),
    [
        (True, ThreadStatus.INTERRUPTED),
        (False, ThreadStatus.IDLE),
        (None, ThreadStatus.INTERRUPTED),
    ],
)
def test_the_thread_of_a_cancelled_run_is_interrupted_if_nodes_are_pending(
    has_next: bool | None, thread: ThreadStatus
) -> None:
    assert (
        final_record(ExitKind.CANCELLED, None, timeout=1, has_next=has_next).idle_status is thread
    )
