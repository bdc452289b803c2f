"""A log record becomes one line, whatever its values are."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.shared import logs
from millstream.shared.logs.escape import escaped, json_line
from millstream.shared.logs.line import Form, LineFormatter
from millstream.shared.logs.secret_values import Secrets
from millstream.shared.settings import Settings

TEXTS = st.text(
    st.characters() | st.sampled_from("\n\r\t\x1b\x7f\x9b\u2028\u2029\u202e\ufeff\ud800")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(TEXTS | st.integers(), inner) | st.tuples(inner)
    ),
    max_leaves=8,
)
UUID_TEXT = "0198c0de-0000-7000-8000-000000000001"


class Hostile:
    """An object whose texts can't be read."""

    def __repr__(self) -> str:
        raise SystemExit(3)


JSON, TEXT = Form(is_json=True), Form(is_json=False)


def formatter(form: Form = JSON, **process: str) -> LineFormatter:
    return LineFormatter(form, process, lambda line: line, None)


def record(msg: Any, *args: Any, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("project.part").makeRecord(
        "project.part", logging.INFO, "x.py", 1, msg, args, None, extra=extra
    )


def fields(msg: Any, *args: Any, **extra: Any) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(formatter().format(record(msg, *args, **extra)))
    return parsed


@given(event=TEXTS, name=TEXTS, value=VALUES)
def test_any_value_is_one_printable_line_of_json(event: str, name: str, value: Any) -> None:
    line = json_line({"event": event, "x" + name: value})
    assert line.isprintable() or not re.search(
        "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e\ud800-\udfff]", line
    )
    parsed = json.loads(line, parse_constant=pytest.fail)
    assert parsed["event"] == event
    if isinstance(value, str | int | bool | None):
        assert parsed["x" + name] == value
    ascii_line = json_line({"event": event, "x" + name: value}, ascii_only=True)
    assert ascii_line.isascii()
    assert json.loads(ascii_line) == parsed


@given(event=TEXTS, value=VALUES)
def test_any_value_is_one_line_of_text(event: str, value: Any) -> None:
    line = formatter(TEXT).format(record("%s", event, value=value))
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e\ud800-\udfff]", line)


@pytest.mark.parametrize(
    "value",
    [float("nan"), {(1, 2): 3}, Hostile(), {"x": Hostile()}, 10**5000],
    ids=["NaN", "key", "object", "inner", "long"],
)
def test_values_that_are_not_json_are_texts(value: Any) -> None:
    assert isinstance(fields("x", value=value)["value"], str | dict)


def test_cycles_and_deep_values_are_texts() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    line = fields("x", cycle=cycle, deep=deep, other=1)
    assert line["cycle"] == "[[...]]"
    assert line["deep"] == "<list>"
    assert line["other"] == 1


def test_ids_times_and_paths_are_written_as_they_are_read() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    line = fields("x", a=UUID(UUID_TEXT), b=at, c=Path("/x"), d=b"\x00")
    assert (line["a"], line["b"], line["c"]) == (UUID_TEXT, str(at), "/x")
    assert line["d"] == "b'\\x00'"


def test_the_fixed_fields_win_over_those_of_the_caller() -> None:
    entry = record(
        "%s is done", "it", event="other", level="x", logger="y", timestamp="z", run_id="r"
    )
    line = json.loads(formatter(role="worker", worker_id="w").format(entry))
    assert list(line)[:7] == [
        "timestamp",
        "level",
        "event",
        "logger",
        "role",
        "worker_id",
        "run_id",
    ]
    assert (line["event"], line["level"], line["logger"]) == ("it is done", "info", "project.part")
    assert datetime.fromisoformat(line["timestamp"]).timestamp() == pytest.approx(
        entry.created, abs=1e-3
    )
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("msg", "args"), [("%d", ("x",)), ("%s %s", (1,)), ("x", (1,)), ("%s", (Hostile(),))]
)
def test_a_record_that_can_t_be_formatted_is_a_line(msg: str, args: tuple[Any, ...]) -> None:
    event = fields(msg, *args)["event"]
    assert event.startswith(f"{msg} ")
    assert "(not formatted: " in event


def test_an_exception_is_one_field_and_the_last() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        entry = record("it failed", other=1)
        entry.exc_info = sys.exc_info()
    line = json.loads(formatter().format(entry))
    assert list(line)[-2:] == ["other", "exception"]
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: first\nsecond")
    # For people, its lines are indented: no line of the log is.
    head, *rows = formatter(TEXT).format(entry).split("\n")
    assert head.split(" ", 1)[1].startswith("INFO     it failed other=1 [project.part]")
    assert rows[0] == "    Traceback (most recent call last):"
    assert rows[-2:] == ["    ValueError: first", "    second"]


def test_text_for_people_is_short() -> None:
    entry = record(
        "run %s has ended", UUID_TEXT, run_id=UUID_TEXT, thread_id="t 1", queue="default"
    )
    text = formatter(TEXT, role="worker", worker_id="w").format(entry)
    assert (
        text.split(" ", 1)[1]
        == f'INFO     run {UUID_TEXT} has ended thread_id="t 1" [project.part]'
    )
    colored = formatter(Form(is_json=False, colors=True)).format(entry)
    assert re.sub("\x1b\\[[0-9;]*m", "", colored) == text
    assert colored != text


def test_trace_ids_come_from_the_current_span() -> None:
    parents = iter(["00-" + "a" * 32 + "-" + "b" * 16 + "-01", ""])
    traced = LineFormatter(Form(is_json=True), {}, lambda line: line, lambda: next(parents))
    line = json.loads(traced.format(record("x")))
    assert (line["trace_id"], line["span_id"]) == ("a" * 32, "b" * 16)
    assert "trace_id" not in json.loads(traced.format(record("x")))


@pytest.mark.parametrize("secret", ["s3cret-word", 's3"cret\\', "s3cret/ä", "p@ss:w/ord"])
def test_secrets_are_masked_in_every_form(secret: str) -> None:
    settings = Settings(
        redis_url=f"redis://u:{quote(secret, safe='')}@host", webhook_secret="other-one,second-one"
    )
    mask = Secrets(settings).mask
    for form in (JSON, TEXT):
        line = LineFormatter(form, {}, mask, None).format(
            record("%s", secret, url=settings.redis_url, both="other-one second-one")
        )
        assert secret not in line
        assert quote(secret, safe="") not in line
        assert "other-one" not in line
        assert "second-one" not in line
        assert "***" in line


def test_short_secrets_are_not_searched_for() -> None:
    assert Secrets(Settings(redis_url="redis://:redis@host")).mask("redis is up") == "redis is up"


def test_settings_show_no_password() -> None:
    assert "hunter22" not in repr(Settings(redis_url="redis://u:hunter22@host"))


def test_escapes_are_readable() -> None:
    assert escaped("a\n\r\t\x1b\x9b\u202e\U000e0041ü👩‍🚀") == (
        "a\\n\\r\\t\\x1b\\x9b\\u202e\\U000e0041ü👩‍🚀"
    )


def test_fields_of_a_request_do_not_reach_the_next() -> None:
    logs.begin(request_id="1", thread_id="t")
    assert fields("x")["thread_id"] == "t"
    logs.begin(request_id="2", run_id=None, graph_id="")
    line = fields("x")
    assert line["request_id"] == "2"
    assert not line.keys() & {"thread_id", "run_id", "graph_id"}
    logs.begin()
    assert "request_id" not in fields("x")
