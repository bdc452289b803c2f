"""Normalising replaces varying values and nothing else; the recorded streams are normalised."""

import doctest
import json
from pathlib import Path
from typing import Any

import pytest

from golden import normalise as module
from golden.normalise import LEFT_OUT, normalise, parse_sse

HERE = Path(__file__).parent
STREAMS: dict[str, Any] = json.loads((HERE / "streams.json").read_text())
ERRORS: list[dict[str, Any]] = json.loads((HERE / "errors.json").read_text())

UUID = "01a20298-4bea-7621-a610-c9c242bb9e6f"
OTHER = "8fe36016-23e3-6900-8bd2-c1c6841f9a56"


def shape(data: object) -> object:
    return normalise("values", data)[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UUID, "<uuid>"),
        (f"child:{UUID}|c1:{OTHER}", "child:<uuid>|c1:<uuid>"),
        (f"lc_run--{UUID}", "<run id>"),
        (f"lc_run--{UUID}-0", "<run id>-0"),
        ("2026-11-22T09:31:14.648977+00:00", "<time>"),
        ("2026-11-22T09:31:14Z", "<time>"),
        ("8c16060ea6472df3989c8df729b0ce1b", "<interrupt id>"),
        ("8c16060ea6472df3989c8df729b0ce1", "8c16060ea6472df3989c8df729b0ce1"),
        ("echo-1", "echo-1"),
        ("2026-11-22", "2026-11-22"),
        ("", ""),
    ],
)
def test_varying_strings_are_replaced(text: str, expected: str) -> None:
    assert shape(text) == expected
    assert shape({text: [text]}) == {expected: [expected]}


@pytest.mark.parametrize("value", [None, True, False, 0, -1, 20, 0.5, [], {}])
def test_other_values_are_unchanged(value: object) -> None:
    assert shape(value) == value
    assert type(shape(value)) is type(value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("messages/partial", "messages/partial"),
        (f"updates|child:{UUID}", "updates|child:<uuid>"),
        (f"values|a:{UUID}|b:{OTHER}", "values|a:<uuid>|b:<uuid>"),
    ],
)
def test_event_names_are_normalised(name: str, expected: str) -> None:
    assert normalise(name, None) == (expected, None)


def test_keys_of_hosting_and_auth_are_removed_at_any_depth() -> None:
    data = [{"config": {"configurable": dict.fromkeys(LEFT_OUT, "x") | {"tokens": 4}}}]
    assert shape(data) == [{"config": {"configurable": {"tokens": 4}}}]


def test_versions_are_replaced_and_their_keys_stay() -> None:
    metadata = {"langgraph_version": "1.2.22", "lc_versions": {"langchain-core": "1.7.2"}}
    assert shape(metadata) == {"langgraph_version": "<version>", "lc_versions": "<version>"}


def test_key_order_is_ignored_and_item_order_is_not() -> None:
    assert json.dumps(shape({"b": 1, "a": {"d": 2, "c": 3}})) == json.dumps(
        shape({"a": {"c": 3, "d": 2}, "b": 1})
    )
    assert shape(["b", "a"]) != shape(["a", "b"])


def test_tuples_become_lists_as_on_the_wire() -> None:
    assert shape({"next": ("ask",)}) == {"next": ["ask"]}


def test_the_argument_is_not_modified() -> None:
    data = {"id": UUID, "user_id": "", "nested": [{"id": UUID}]}
    before = json.dumps(data)
    normalise("values", data)
    assert json.dumps(data) == before


def test_two_keys_that_become_equal_raise() -> None:
    with pytest.raises(ValueError, match="two keys became one"):
        shape({UUID: 1, OTHER: 2})


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_parse_sse_accepts_every_line_ending(newline: str) -> None:
    body = "event: a\ndata: {}\nid: 1-0\n\nevent: b\ndata: [1]\n\n".replace("\n", newline)
    assert parse_sse(body) == [("a", {}), ("b", [1])]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", []),
        (": heartbeat\n\n", []),
        (": heartbeat\nevent: a\ndata: 1\n\n", [("a", 1)]),
        ("event: a\n\ndata: 1\n\n", [("message", 1)]),
        ('event:a\ndata:"x: y"\n\n', [("a", "x: y")]),
        ("event: a\ndata: [1,\ndata: 2]\n\n", [("a", [1, 2])]),
        ("event: a\ndata: 1\n", []),
        ('event: a\ndata: "\u2028"\n\n', [("a", "\u2028")]),
    ],
    ids=[
        "nothing",
        "only a comment",
        "a comment in front",
        "a name without data is dropped",
        "no space after the colon",
        "data on two lines",
        "cut off before its blank line",
        "a line separator of Unicode is text",
    ],
)
def test_parse_sse_returns_names_and_data(body: str, expected: list[tuple[str, object]]) -> None:
    assert parse_sse(body) == expected


def test_docstring_examples_pass() -> None:
    assert doctest.testmod(module) == doctest.TestResults(failed=0, attempted=1)


def test_recorded_streams_are_sorted_and_normalised() -> None:
    assert list(STREAMS) == sorted(STREAMS)
    for case in STREAMS.values():
        for name, data in case["events"]:
            assert normalise(name, data) == (name, data)
            assert json.dumps(normalise(name, data)[1]) == json.dumps(data)


@pytest.mark.parametrize("name", STREAMS)
def test_each_recorded_stream_can_be_repeated(name: str) -> None:
    case = STREAMS[name]
    assert case["events"][0][0] == "metadata"
    assert case["request"]["assistant_id"]
    assert (case["path"] == "/runs/stream") == (case["thread"] == "none")
    assert (case["thread"] == "kept") == ("after" in case)
    if "after" in case:
        assert STREAMS[case["after"]]["thread"] in {"fresh", "kept"}


def test_recorded_errors_are_sorted_and_unique() -> None:
    names = [row["name"] for row in ERRORS]
    assert names == sorted(set(names))
