"""Configures the log of a process: `logging`, structlog, warnings and uncaught exceptions.

A project may configure `logging` or structlog when it is imported. So processes that import one configure the log
before, for the lines of the import, and again after it. docs/logs.md says what stays of the project's configuration.
"""

import logging
import os
import sys
import threading
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter

from millstream.shared.errors import SettingError
from millstream.shared.logs.line import Form, LineFormatter, Traceparent
from millstream.shared.logs.secret_values import Secrets
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)

# `dictConfig` disables existing loggers by default.
NEEDED: Final = ("millstream", "uvicorn", "arq", "asyncio", "py")
# Of structlog's processors, these make the final text. A line has its own form instead.
RENDERERS: Final = (
    structlog.processors.JSONRenderer,
    structlog.processors.KeyValueRenderer,
    structlog.processors.LogfmtRenderer,
    structlog.processors.EventRenamer,
    structlog.dev.ConsoleRenderer,
)
RENDERING: Final = (
    ProcessorFormatter.wrap_for_formatter,
    structlog.stdlib.render_to_log_kwargs,
    structlog.stdlib.render_to_log_args_and_kwargs,
)

_process: Final[dict[str, str]] = {}


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to stderr."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drops the line: the stream is closed, and there is no other to report it to."""


def configure(role: str, settings: Settings, *, traceparent: Traceparent | None = None) -> None:
    """Configures the log of this process. May be called again.

    Args:
        role: what the process is, for all its lines: `api`, `worker`, `isolated` or `auth` for a child.
        settings: the form and the level of lines, and the secrets that no line may have.
        traceparent: returns the current span (W3C); None if nothing is traced.
    """
    _process["role"] = role
    form = _form(settings, sys.stderr)
    formatter = LineFormatter(form, _process, Secrets(settings).mask, traceparent)
    handler = LineHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for existing in root.handlers[:]:
        if isinstance(existing, LineHandler):
            root.removeHandler(existing)
        elif _is_terminal(existing):
            root.removeHandler(existing)
            for each in existing.filters:
                handler.addFilter(each)  # it may remove secrets
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            if name.partition(".")[0] in NEEDED:
                logger.disabled = False
            for existing in filter(_is_terminal, logger.handlers):
                existing.setFormatter(formatter)
    logging.captureWarnings(True)
    _configure_structlog()
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def early_settings() -> Settings:
    """Returns the settings for the lines of a project's import, which may still set variables.

    Invalid ones are the defaults: the process reports them after the import.
    """
    try:
        return Settings.from_env()
    except SettingError:
        return Settings()


def identify(**fields: str) -> None:
    """Adds fields to all further lines of this process, such as its `worker_id`."""
    _process.update(fields)


def _form(settings: Settings, stream: TextIO) -> Form:
    is_terminal = stream.isatty()
    colors = settings.log_color
    return Form(
        is_json=not is_terminal if settings.log_json == "auto" else settings.log_json == "true",
        colors=(is_terminal and not os.environ.get("NO_COLOR"))
        if colors == "auto"
        else colors == "true",
        ascii_only=stream.encoding.lower().replace("-", "") != "utf8",
    )


def _is_terminal(handler: logging.Handler) -> bool:
    """Returns whether a handler writes to stdout or stderr, itself or by a console of rich."""
    stream = getattr(handler, "stream", None) or getattr(
        getattr(handler, "console", None), "file", None
    )
    return stream is not None and stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)


def _configure_structlog() -> None:
    """Lets loggers of structlog write records of `logging`.

    The processors of a project stay, except for those that make the text: they may remove secrets.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.stdlib.PositionalArgumentsFormatter(),
                structlog.processors.StackInfoRenderer(),
                _to_record,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )
        return
    processors = structlog.get_config()["processors"]
    if processors and processors[-1] is _to_record:
        return
    others = [
        each for each in processors if not isinstance(each, RENDERERS) and each not in RENDERING
    ]
    structlog.configure(
        processors=[*others, _to_record], logger_factory=structlog.stdlib.LoggerFactory()
    )


def _to_record(logger: Any, name: str, event: Any) -> Any:
    """Passes an event to `logging`. A processor of the project may have made a text of it."""
    if not isinstance(event, dict):
        event = {"event": event if isinstance(event, str) else repr(event)}
    return ProcessorFormatter.wrap_for_formatter(logger, name, event)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    log.critical("the process ends by an exception", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_type is SystemExit or failure.exc_value is None:
        return
    name = failure.thread.name if failure.thread is not None else "?"
    log.error(
        "the thread %s ended by an exception",
        name,
        exc_info=(failure.exc_type, failure.exc_value, failure.exc_traceback),
    )
