"""The log of a process is configured once, whatever its project configures."""

import io
import json
import logging
import logging.config
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from millstream.shared import logs
from millstream.shared.errors import SettingError
from millstream.shared.logs import setup
from millstream.shared.settings import Settings


class Stderr(io.StringIO):
    """A stderr that may be a terminal."""

    encoding = "utf-8"
    terminal = False

    def configure(self, **settings: str) -> None:
        """Configures the log to write here. pytest has its own `sys.stderr` in each phase of a test."""
        sys.stderr = self
        logs.configure("worker", Settings(**settings))  # type: ignore[arg-type]

    def isatty(self) -> bool:
        return self.terminal

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stderr]:
    """An own stderr, and the configuration of a new process. All is as before at the end."""
    root = logging.getLogger()
    level, logger_class = root.level, logging.getLoggerClass()
    hooks = sys.excepthook, threading.excepthook
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(setup, "_process", {})
    try:
        yield Stderr()
    finally:
        logs.begin()
        pytests = [each for each in root.handlers if type(each).__module__.startswith("_pytest")]
        for handler in set(root.handlers).difference(pytests):
            handler.close()
        root.handlers[:] = pytests
        root.setLevel(level)
        logging.setLoggerClass(logger_class)
        logging.captureWarnings(False)
        structlog.reset_defaults()
        sys.excepthook, threading.excepthook = hooks
        for name in ("project", "project.part", "millstream.test"):
            logger = logging.getLogger(name)
            logger.handlers[:], logger.propagate, logger.disabled = [], True, False
            logger.setLevel(logging.NOTSET)


def test_the_handlers_of_a_project_get_the_form_of_the_server(
    stderr: Stderr, tmp_path: Path
) -> None:
    stderr.configure(log_level="WARNING")
    millstream = logging.getLogger("millstream.test")

    class Redact(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.msg = record.msg.replace("token", "[redacted]")
            return True

    logging.config.dictConfig(
        {
            "version": 1,
            "formatters": {"own": {"format": "own %(message)s"}},
            "filters": {"redact": {"()": Redact}},
            "handlers": {
                "terminal": {
                    "class": "logging.StreamHandler",
                    "formatter": "own",
                    "filters": ["redact"],
                },
                "file": {
                    "class": "logging.FileHandler",
                    "formatter": "own",
                    "filename": str(tmp_path / "log"),
                },
            },
            "loggers": {
                "project": {"handlers": ["terminal"], "propagate": False, "level": "DEBUG"}
            },
            "root": {"handlers": ["terminal", "file"], "level": "DEBUG"},
        }
    )
    assert millstream.disabled
    stderr.configure(log_level="WARNING")
    millstream.warning("the server's token")
    logging.getLogger("library").info("below the level")
    logging.getLogger("project.part").debug("the project's token")
    logging.getLogger().error("root")
    assert [(each["event"], each["logger"], each["level"]) for each in stderr.lines] == [
        ("the server's [redacted]", "millstream.test", "warning"),
        ("the project's [redacted]", "project.part", "debug"),
        ("root", "root", "error"),
    ]
    assert (tmp_path / "log").read_text() == "own the server's token\nown root\n"


def test_a_basic_config_of_a_project_writes_no_second_line(stderr: Stderr) -> None:
    stderr.configure()
    logging.basicConfig(force=True, format="own %(message)s")
    stderr.configure()
    stderr.configure()
    logging.getLogger("project").info("once")
    assert [each["event"] for each in stderr.lines] == ["once"]


def test_structlog_writes_lines_of_the_same_form(stderr: Stderr) -> None:
    stderr.configure()
    logs.begin(run_id="r")
    log = structlog.get_logger("project")
    log.bind(a=1).info("bound %s", "it", b="x\ny")
    log.debug("below the level")
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("failed")
    first, second = stderr.lines
    assert list(first) == ["timestamp", "level", "event", "logger", "role", "run_id", "a", "b"]
    assert (first["event"], first["a"], first["b"]) == ("bound it", 1, "x\ny")
    assert second["exception"].endswith("ValueError: x")


def redact(_: Any, __: str, event: Any) -> Any:
    return {**event, "password": "[redacted]"}


def render(_: Any, __: str, event: Any) -> str:
    return f"own text {event['event']}"


@pytest.mark.parametrize(
    "renderers",
    [
        [structlog.processors.JSONRenderer()],
        [structlog.dev.ConsoleRenderer()],
        [structlog.processors.EventRenamer("msg"), structlog.processors.LogfmtRenderer()],
        [structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        [],
    ],
)
@pytest.mark.parametrize("filtering", [True, False])
def test_the_processors_of_a_project_stay_without_its_renderer(
    stderr: Stderr, renderers: list[Any], filtering: bool
) -> None:
    stderr.configure()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            redact,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO) if filtering else None,
    )
    stderr.configure()
    stderr.configure()
    logs.begin(run_id="r")
    structlog.get_logger("project").info("said", password="p", other=1)
    [line] = stderr.lines
    assert (line["event"], line["password"], line["other"], line["run_id"]) == (
        "said", "[redacted]", 1, "r",
    )  # fmt: skip
    assert (line["level"], line["logger"]) == ("info", "project")


def test_the_text_of_a_projects_own_renderer_is_the_event(stderr: Stderr) -> None:
    structlog.configure(processors=[render])
    stderr.configure()
    structlog.get_logger("project").info("said\n")
    assert [each["event"] for each in stderr.lines] == ["own text said\n"]


def test_warnings_and_uncaught_exceptions_are_lines(stderr: Stderr) -> None:
    stderr.configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old\nway", stacklevel=1)
    logging.captureWarnings(False)
    try:
        raise KeyError("x")
    except KeyError as error:
        sys.excepthook(KeyError, error, error.__traceback__)
    thread = threading.Thread(target=lambda: int("x"), name="my thread")
    thread.start()
    thread.join()
    warned, ended, failed = stderr.lines
    assert (warned["logger"], warned["level"]) == ("py.warnings", "warning")
    assert "UserWarning: old\nway" in warned["event"]
    assert (ended["level"], ended["exception"].split("\n")[-1]) == ("critical", "KeyError: 'x'")
    assert failed["event"] == "the thread my thread ended by an exception"
    assert failed["exception"].endswith("ValueError: invalid literal for int() with base 10: 'x'")


def test_an_interrupt_by_the_keyboard_is_no_line(stderr: Stderr) -> None:
    stderr.configure()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert stderr.getvalue() == "KeyboardInterrupt\n"


@pytest.mark.parametrize(
    ("terminal", "settings", "environ", "begins"),
    [
        (False, {}, {}, '{"timestamp"'),
        (True, {}, {}, "\x1b[2m"),
        (True, {}, {"NO_COLOR": "1"}, "2"),
        (True, {"log_json": "true"}, {}, '{"timestamp"'),
        (True, {"log_color": "false"}, {}, "2"),
        (False, {"log_json": "false"}, {}, "2"),
        (False, {"log_json": "false", "log_color": "true"}, {}, "\x1b[2m"),
        (True, {"log_color": "true"}, {"NO_COLOR": "1"}, "\x1b[2m"),
    ],
)
def test_the_form_follows_the_settings_and_the_terminal(
    stderr: Stderr,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    settings: dict[str, str],
    environ: dict[str, str],
    begins: str,
) -> None:
    stderr.terminal = terminal
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("time.time", lambda: 1e9)
    stderr.configure(**settings)
    logging.getLogger("project").info("x")
    text = stderr.getvalue()
    assert text.startswith(begins) or (begins == "2" and text[0].isdigit()), text
    assert text.endswith("\n")


def test_a_terminal_without_utf_8_gets_ascii(stderr: Stderr) -> None:
    stderr.encoding = "latin-1"
    stderr.configure()
    logging.getLogger("project").info("ü👩")
    assert stderr.getvalue().isascii()
    assert stderr.lines[0]["event"] == "ü👩"


def test_a_closed_stream_ends_nothing(stderr: Stderr) -> None:
    stderr.configure()
    stderr.close()
    logging.getLogger("project").error("nobody reads this")


def test_settings_that_are_invalid_are_defaults_for_the_first_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    assert logs.early_settings().log_level == "DEBUG"
    monkeypatch.setenv("LEASE_SECS", "x")
    assert logs.early_settings().log_level == "INFO"


def test_excluded_paths_must_be_paths() -> None:
    def excluded(text: str) -> list[str]:
        return Settings.from_env({"LOG_EXCLUDE_PATHS": text}).excluded_paths

    assert excluded("") == ["/ok", "/metrics"]
    assert excluded("none") == []
    assert excluded(" /a , /b/* ,") == ["/a", "/b/*"]
    with pytest.raises(SettingError, match=r"LOG_EXCLUDE_PATHS: 'ok' is not a path"):
        excluded("/a,ok")
