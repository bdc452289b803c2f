"""A log record → one line: of JSON, or of text for people.

Records come from `logging` and from structlog, of Millstream, its libraries and the project. All get the same fields.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from structlog.contextvars import merge_contextvars
from structlog.processors import format_exc_info
from structlog.typing import EventDict

from millstream.shared.logs.escape import describe, escaped, json_line

FIXED: Final = ("timestamp", "level", "event", "logger")
# In this order, behind the fields that every line has.
IDS: Final = (
    "run_id", "thread_id", "attempt", "worker_id", "graph_id", "queue", "request_id", "trace_id", "span_id",
)  # fmt: skip
# Attributes of records that are no fields: `logging` has set them, or uvicorn, for a terminal.
NO_FIELDS: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message", "asctime", "taskName", "color_message", "_logger", "_name",
}  # fmt: skip
# Lines of text leave these out: one process writes to a terminal, and `millstream dev` names it.
NOT_IN_TEXT: Final = frozenset({"role", "worker_id", "queue", "request_id", "trace_id", "span_id"})
# Lines of text leave these out if the event has their value already.
OFTEN_IN_EVENT: Final = frozenset(
    {"run_id", "thread_id", "graph_id", "attempt", "method", "path", "route", "status", "duration_ms"}
)  # fmt: skip
BLOCKS: Final = ("exception", "stack")  # several lines; the last of a record
INDENT: Final = "    "
COLORS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}

Traceparent = Callable[[], str]  # of the span that surrounds the caller (W3C), '' for none


@dataclass(frozen=True, slots=True)
class Form:
    """How lines look."""

    is_json: bool
    colors: bool = False
    ascii_only: bool = False


class LineFormatter(logging.Formatter):
    """Formats records. A record that can't be formatted is a line that says so: no record is lost.

    It reads what structlog's `ProcessorFormatter.wrap_for_formatter` puts into records, as ProcessorFormatter does.
    That would copy each record, and takes twice the time: each request has a line.
    """

    def __init__(
        self,
        form: Form,
        process: Mapping[str, str],
        mask: Callable[[str], str],
        traceparent: Traceparent | None,
    ) -> None:
        """Formats nothing yet.

        Args:
            form: JSON or text.
            process: fields of all lines of this process. They may be added later.
            mask: removes secrets from a line.
            traceparent: returns the current span; None if nothing is traced.
        """
        super().__init__()
        self._form: Final = form
        self._process: Final = process
        self._mask: Final = mask
        self._traceparent: Final = traceparent

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, without a line feed at its end."""
        try:
            event = format_exc_info(None, "", merge_contextvars(None, "", _event_of(record)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the caller's arguments and objects
            reason = f"{type(error).__name__}: {describe(error)}"
            text = f"{describe(record.msg)} {describe(record.args)} (not formatted: {reason})"
            event = merge_contextvars(None, "", {"event": text})
        fields = self._in_order(record, event)
        if self._form.is_json:
            return self._mask(json_line(fields, ascii_only=self._form.ascii_only))
        return self._mask(_text(fields, colors=self._form.colors))

    def _in_order(self, record: logging.LogRecord, event: EventDict) -> dict[str, Any]:
        """Returns the fields in their order. The fixed ones win over fields of the caller."""
        text = event.pop("event", "")
        fields: dict[str, Any] = {
            "timestamp": _utc(record.created),
            "level": record.levelname.lower(),
            "event": text if isinstance(text, str) else describe(text),
            "logger": record.name,
            **self._process,
        }
        if self._traceparent is not None and (parent := self._traceparent()):
            _, fields["trace_id"], fields["span_id"], _ = parent.split("-", 3)
        for name in IDS:
            if name in event:
                fields[name] = event.pop(name)
        blocks = {name: event.pop(name) for name in BLOCKS if name in event}
        for name, value in event.items():
            fields.setdefault(name, value)
        return fields | blocks


def _event_of(record: logging.LogRecord) -> EventDict:
    """Returns the message and the fields of the caller."""
    if "_logger" in record.__dict__ and isinstance(record.msg, dict):
        return record.msg.copy()  # of structlog
    event: EventDict = {"event": record.getMessage()}
    for name, value in record.__dict__.items():
        if name not in NO_FIELDS:
            event.setdefault(name, value)
    if record.exc_info:
        event["exc_info"] = record.exc_info
    if record.stack_info:
        event["stack"] = record.stack_info
    return event


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _text(fields: dict[str, Any], *, colors: bool) -> str:
    """Returns one line for people, and the lines of an exception behind it, which are indented."""

    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colors and code else text

    level, event = str(fields["level"]), escaped(fields["event"])
    clock = datetime.fromisoformat(fields["timestamp"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    others: list[str] = []
    ids: list[str] = []
    for name, value in fields.items():
        if name in FIXED or name in BLOCKS or name in NOT_IN_TEXT:
            continue
        if not (name in OFTEN_IN_EVENT and str(value) in event):
            (ids if name in IDS else others).append(f"{escaped(str(name))}={_value(value)}")
    line = " ".join(
        [
            paint(clock, "2"),
            paint(f"{level.upper():<8}", COLORS.get(level, "")),
            event,
            *([paint(" ".join(others), "36")] if others else []),
            paint(" ".join([*ids, f"[{escaped(fields['logger'])}]"]), "2"),
        ]
    )
    for name in BLOCKS:
        if block := fields.get(name):
            text = block if isinstance(block, str) else describe(block)
            rows = text.rstrip().replace("\r\n", "\n").split("\n")
            line += "".join(f"\n{INDENT}{escaped(row)}" for row in rows)
    return line


def _value(value: Any) -> str:
    text = describe(value)
    if not text or any(character in text for character in " =\"'"):
        text = json.dumps(text, ensure_ascii=False)
        # json.dumps has escaped control characters; the others follow.
    return escaped(text)
