"""What is wrong with the file that `auth.path` names, and what an exception of its code means."""

import json
import logging
import time
from pathlib import Path

import pytest
from langgraph_sdk import Auth

from harness.projects import clean_imports, write
from millstream.shared.auth_process import child, denials
from millstream.shared.auth_process.denials import denial_of
from millstream.shared.auth_process.messages import Denied
from millstream.shared.errors import SettingError

CASES = Path(__file__).parents[1] / "graphs" / "odd_auth.py"
WHAT = "the handler of threads.read"

UNUSABLE = [
    (f"{CASES}:no_auth", "is of the class int, not langgraph_sdk.Auth"),
    (f"{CASES}:handlers_alone", "has no function under @auth.authenticate"),
    (f"{CASES}:unknown_parameter", "has the parameter 'token'. It can take, by name: request, body"),
    (f"{CASES}:absent", "odd_auth.py has no 'absent'"),
    ("./absent.py:auth", "auth.path: there is no file ./absent.py"),
    ("./broken.py:auth", "./broken.py can't be imported: NameError: name 'nonsense' is not defined (broken"),
    ("./leaves.py:auth", "./leaves.py can't be imported: SystemExit: 3"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "said"), UNUSABLE)
def test_a_file_that_cannot_be_used_is_a_setting_error(
    tmp_path: Path, path: str, said: str
) -> None:
    write(tmp_path, "broken.py", "\nnonsense\n")
    write(tmp_path, "leaves.py", "raise SystemExit(3)\n")
    content = {"graphs": {"g": "./g.py:graph"}, "auth": {"path": path}}
    with clean_imports(), pytest.raises(SettingError, match=r"^auth\.path: ") as error:
        child.load(write(tmp_path, "langgraph.json", json.dumps(content)))
    assert said in str(error.value)


def raised(error: Exception) -> BaseException:
    """Returns the exception with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


@pytest.fixture(autouse=True)
def _nothing_logged_before() -> None:
    denials._logged.clear()


def test_an_exception_is_in_the_log_with_its_traceback_and_not_in_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert denial_of(raised(ValueError("secret")), 5, WHAT) == Denied(5)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert WHAT in record.getMessage()
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


def test_the_traceback_of_one_line_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in range(3):
        denial_of(raised(ValueError("x")), 1, WHAT)
    denial_of(raised(KeyError("x")), 1, WHAT)
    now[0] += denials.REPEAT_SECONDS
    denial_of(raised(ValueError("x")), 1, WHAT)
    has_traceback = [record.exc_info is not None for record in caplog.records]
    assert has_traceback == [True, False, False, True, True]


def test_the_memory_of_tracebacks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "MAX_EXCEPTIONS", 3)
    for number in range(5):
        denial_of(raised(type(f"Error{number}", (Exception,), {})()), 1, WHAT)
    assert len(denials._logged) <= 3


def test_a_failed_assert_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert denial_of(raised(AssertionError("secret")), 1, WHAT) == Denied(1)
    assert not caplog.records


@pytest.mark.parametrize("status", [200, 302, 700, "403", None])
def test_an_http_exception_that_is_no_error_denies(
    status: object, caplog: pytest.LogCaptureFixture
) -> None:
    error = Auth.exceptions.HTTPException(403, "text")
    error.status_code = status  # type: ignore[assignment]
    assert denial_of(raised(error), 1, WHAT) == Denied(1)
    assert repr(status) in caplog.text


def test_headers_that_would_break_the_response_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    headers = {
        "X-Fine": "a",
        "X-Bad": "a\r\nSet-Cookie: b=c",
        "Bad name": "x",
        "Retry-After": 5,
        "Content-Length": "0",
    }
    error = Auth.exceptions.HTTPException(503, "later", headers)  # type: ignore[arg-type]
    denied = denial_of(raised(error), 1, WHAT)
    assert denied == Denied(1, 503, "later", {"X-Fine": "a", "Retry-After": "5"})
    assert "X-Bad" in caplog.text
    assert "Bad name" in caplog.text
    assert "Content-Length" in caplog.text


def test_a_long_text_is_cut() -> None:
    error = Auth.exceptions.HTTPException(403, "x" * 10_000)
    assert len(denial_of(raised(error), 1, WHAT).detail) == denials.MAX_DETAIL_CHARS
