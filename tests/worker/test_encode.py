"""Values that JSON can't hold are encoded on one line, and no value of a graph makes the encoder raise."""

import collections
import dataclasses
import datetime as dt
import enum
import json
import pathlib
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from golden.normalise import parse_sse
from millstream.worker.encode import encode
from millstream.worker.failure import describe_error
from worker.unencodable import (
    DumpsNonsense,
    DumpTakesMore,
    EndlessDump,
    NoAttributes,
    NoDump,
    NoItems,
    NoMessage,
    NoRepr,
    NoText,
)

WHEN = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


def encoded(value: Any) -> Any:
    """Returns the value as a client parses it. Fails unless it is strict JSON (RFC 8259) on one line."""
    data = encode(value)
    assert b"\n" not in data
    assert b"\r" not in data

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(data.decode("utf-8"), parse_constant=refuse)


class Point(NamedTuple):
    x: int
    y: Any = None


class Colour(enum.Enum):
    RED = "red"
    SET = frozenset({1})


class Number(enum.IntEnum):
    ONE = 1


class Flag(enum.Flag):
    A = 1


class StrSubclass(str): ...


class Whole(int): ...


class Table(dict[str, Any]): ...


class Row(list[Any]): ...


@dataclasses.dataclass
class Data:
    a: Any
    b: Any = None


@dataclasses.dataclass(slots=True)
class Slotted:
    a: Any


class Model(BaseModel):
    when: Any = None
    name: str = "x"


class Dictable:
    def to_dict(self) -> dict[str, Any]:
        return {"to": {"dict"}}


class Plain:
    def __repr__(self) -> str:
        return "<plain>"


EXACT: list[tuple[str, Any, Any]] = [
    ("None", None, None),
    ("bool", [True, False], [True, False]),
    ("datetime", WHEN, "2026-01-02T03:04:05.000006+00:00"),
    ("naive datetime", WHEN.replace(tzinfo=None), "2026-01-02T03:04:05.000006"),
    ("date", WHEN.date(), "2026-01-02"),
    ("time", WHEN.time(), "03:04:05.000006"),
    ("timedelta", dt.timedelta(days=1, microseconds=500_000), 86400.5),
    ("timezone", dt.timezone(dt.timedelta(hours=2)), "UTC+02:00"),
    ("UUID", uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ("bytes", b"\xff\x00", "/wA="),
    ("bytearray", bytearray(b"\xff\x00"), "/wA="),
    ("memoryview", memoryview(b"\xff\x00"), "/wA="),
    ("set", {1}, [1]),
    ("frozenset", frozenset({"a"}), ["a"]),
    ("deque", collections.deque([1, (2,)]), [1, [2]]),
    ("tuple", (1, (2, ())), [1, [2, []]]),
    ("named tuple", Point(1, {2}), {"x": 1, "y": [2]}),
    ("dataclass", Data(1, Data(WHEN.date())), {"a": 1, "b": {"a": "2026-01-02", "b": None}}),
    ("dataclass with slots", Slotted({1}), {"a": [1]}),
    ("model", Model(when=WHEN), {"when": "2026-01-02T03:04:05.000006+00:00", "name": "x"}),
    ("model in a model", Model(when=Model()), {"when": {"when": None, "name": "x"}, "name": "x"}),
    ("to_dict", Dictable(), {"to": ["dict"]}),
    ("NaN", float("nan"), None),
    ("infinities", [float("inf"), float("-inf")], [None, None]),
    ("numbers", [1.5, -0.0, 5e-324, 1.7976931348623157e308], [1.5, -0.0, 5e-324, 1.7976931348623157e308]),
    ("64 bits", [2**63 - 1, -(2**63), 2**64 - 1], [2**63 - 1, -(2**63), 2**64 - 1]),
    ("beyond 64 bits", [2**64, -(2**70), 10**40], [2**64, -(2**70), 10**40]),
    ("Decimal", Decimal("1.5"), 1.5),
    ("whole Decimal", Decimal("7.00"), 7),
    ("large Decimal", Decimal("1e30"), 1e30),
    ("Decimal beyond floats", Decimal("1e400"), None),
    ("odd Decimals", [Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")], [None] * 3),
    ("Enum", Colour.RED, "red"),
    ("Enum of a set", Colour.SET, [1]),
    ("IntEnum", Number.ONE, 1),
    ("Flag", Flag.A, 1),
    ("path", pathlib.PurePosixPath("/tmp/ä"), "/tmp/ä"),
    ("class", Model, f"{__name__}.Model"),
    ("builtin class", ValueError, "builtins.ValueError"),
    ("exception", ValueError("bad"), {"error": "ValueError", "message": "bad"}),
    ("KeyError", KeyError("k"), {"error": "KeyError", "message": "there is no key 'k'"}),
    ("SystemExit", SystemExit(3), {"error": "SystemExit", "message": "sys.exit(3) was called"}),
    ("NUL", "a\0b", "a\0b"),
    ("line breaks", "\n\r\u2028\u2029\x85\x0b\x0c", "\n\r\u2028\u2029\x85\x0b\x0c"),
    ("lone surrogate", "a\ud800b", "a\ufffdb"),
    ("lone surrogate at the end", "\udfff", "\ufffd"),
    ("a pair in two halves", "\ud83e\udd8a", "🦊"),
    ("lone surrogate beside others", ["\ud800", {"k": 1, "b": {2}}], ["\ufffd", {"k": 1, "b": [2]}]),
    ("lone surrogate in a key", {"\ud800": 1}, {"\ufffd": 1}),
    ("str subclass", StrSubclass("w"), "w"),
    ("int subclass", Whole(2**70), 2**70),
    ("dict subclass", Table(a={1}), {"a": [1]}),
    ("list subclass", Row([1, {2}]), [1, [2]]),
    ("subclasses beside a surrogate", [StrSubclass("\ud800"), Whole(5), Table(a=1)], ["\ufffd", 5, {"a": 1}]),
    ("OrderedDict", collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ("Counter", collections.Counter("aab"), {"a": 2, "b": 1}),
    ("ChainMap", collections.ChainMap({"a": 1}), {"a": 1}),
    ("int keys", {1: "a", -2: "b"}, {"1": "a", "-2": "b"}),
    ("big int keys", {2**80: "a"}, {str(2**80): "a"}),
    ("odd keys", {None: 1, True: 2, 1.5: 3}, {"null": 1, "true": 2, "1.5": 3}),
    ("time keys", {WHEN.date(): 1, uuid.UUID(int=1): 2},
     {"2026-01-02": 1, "00000000-0000-0000-0000-000000000001": 2}),
    ("Enum keys", {Colour.RED: 1, Number.ONE: 2}, {"red": 1, "1": 2}),
    ("tuple keys", {(1, "a"): {2}}, {"(1, 'a')": [2]}),
    ("bytes keys", {b"a": 1}, {"b'a'": 1}),
    ("numpy scalars", [np.float32(0.5), np.int8(-3), np.bool_(True), np.float64("nan")], [0.5, -3, True, None]),
    ("numpy strings", np.str_("x"), "x"),
    ("numpy arrays", {"a": np.arange(4).reshape(2, 2)}, {"a": [[0, 1], [2, 3]]}),
    ("numpy floats", np.array([1.5, np.nan, np.inf]), [1.5, None, None]),
    ("numpy dates", np.datetime64("2026-01-02"), "2026-01-02T00:00:00"),
    ("object", Plain(), "<plain>"),
    ("complex", 1 + 2j, "(1+2j)"),
    ("range", range(3), "range(0, 3)"),
    ("interrupt", Interrupt(value={1}, id="i"), {"value": [1], "id": "i"}),
    ("send", Send("node", {"a": 1}), {"node": "node", "args": {"a": 1}}),
    ("empty", [{}, [], "", (), set()], [{}, [], "", [], []]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"), [row[1:] for row in EXACT], ids=[r[0] for r in EXACT]
)
def test_each_type_is_encoded(value: Any, expected: Any) -> None:
    result = encoded(value)
    if isinstance(value, Interrupt):
        assert expected.items() <= result.items()
        return
    assert result == expected
    assert type(result) is type(expected)
    # The same if another value beside it prevents the fast path.
    assert encoded([value, "\ud800"]) == [expected, "\ufffd"]
    assert encoded({"a": {"b": [value]}}) == {"a": {"b": [expected]}}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (HumanMessage("hi", id="1"), "human"),
        (AIMessage("hi", id="1", tool_calls=[{"name": "t", "args": {"a": 1}, "id": "c"}]), "ai"),
        (AIMessageChunk(content="hi", id="1"), "AIMessageChunk"),
        (ToolMessage("hi", tool_call_id="c", id="1", artifact={1}), "tool"),
        (HumanMessage([{"type": "text", "text": "hi"}], id="1"), "human"),
    ],
)
def test_messages_are_encoded(message: Any, kind: str) -> None:
    result = encoded({"messages": [message, (message, {})]})["messages"]
    assert result[0] == result[1][0] == encoded(message)
    assert result[0]["type"] == kind
    assert result[0]["id"] == "1"
    assert result[0]["content"] == message.content


def test_a_generator_is_encoded_by_name_and_not_consumed() -> None:
    executed: list[int] = []

    def numbers() -> Iterator[int]:
        executed.append(1)
        yield 1

    generator = numbers()
    assert encoded(generator).startswith("<generator object ")
    assert executed == []
    assert encoded(lambda: 1).startswith("<function ")


# ── What lies in itself, or too deep ────────────────────────────────────────────────────────


def loops() -> Iterator[Any]:
    one: list[Any] = [1]
    one.append(one)
    yield one
    many: list[Any] = []
    many += [many] * 5  # a full encoding would be endless
    yield many
    table: dict[str, Any] = {}
    table |= {"a": table, "b": table, "c": [table, table]}
    yield table
    first, second = Data(1), Data(2)
    first.b, second.b = second, [first, first]
    yield first
    model = Model()
    model.when = [model, model]
    yield model
    pair = collections.deque[Any]()
    pair.extend([pair, {1: pair}])
    yield pair
    recursive: Any = Table()
    recursive["me"], recursive["too"] = recursive, recursive
    yield recursive


@pytest.mark.parametrize("value", list(loops()), ids=lambda value: type(value).__name__)
def test_a_recursive_value_is_cut(value: Any) -> None:
    assert encoded(value)
    assert len(encode(value)) < 100_000
    assert encoded({"x": [value, 1]})["x"][1] == 1


def test_a_repeated_value_is_encoded_twice() -> None:
    part = {"p": {1}}
    assert encoded([part, part, "\ud800"]) == [{"p": [1]}, {"p": [1]}, "\ufffd"]


@pytest.mark.parametrize("depth", [50, 99, 200, 253, 300, 1000, 20_000])
def test_deep_values_are_cut(depth: int) -> None:
    lists: Any = 1
    tables: Any = 1
    for _ in range(depth):
        lists, tables = [lists], {"a": tables}
    for value in (lists, tables, {"x": lists, "y": {1}}):
        assert encoded(value)
    if depth < 100:
        assert encoded(lists) == lists
        assert encoded([tables, "\ud800"]) == [tables, "\ufffd"]


# ── Objects that raise ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NoRepr(), "<NoRepr>"),
        (NoText(), "<NoText>"),
        ({NoText(): 1}, {"<NoText>": 1}),
        ({"a": {NoText()}}, {"a": ["<NoText>"]}),
        (NoDump(), "NoDump()"),
        (NoAttributes(), "<no attributes>"),
        (
            NoMessage(),
            {
                "error": "NoMessage",
                "message": "NoMessage was raised, and its message can't be read",
            },
        ),
        (DumpTakesMore(), "<takes more>"),
        (NoRepr, f"{NoRepr.__module__}.NoRepr"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_raises_is_encoded_by_name(value: Any, expected: Any) -> None:
    assert encoded(value) == expected
    assert encoded([value, "\ud800", 1]) == [expected, "\ufffd", 1]


@pytest.mark.parametrize("value", [NoItems(), DumpsNonsense(), EndlessDump()])
def test_a_value_without_readable_fields_is_encoded_as_text(value: Any) -> None:
    assert encoded(value)
    assert encoded([value, 1])[1] == 1


def test_an_exception_is_encoded_with_type_and_message() -> None:
    assert describe_error(ValueError("a\ud800")) == {"error": "ValueError", "message": "a\ufffd"}


# ── Anything ────────────────────────────────────────────────────────────────────────────────

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.text(st.characters(categories=["Cs", "Lu", "Cc"])), st.decimals(), st.datetimes(),
    st.dates(), st.times(), st.timedeltas(), st.uuids(), st.complex_numbers(), st.fractions(),
    st.sampled_from([Colour.RED, Number.ONE, Model, ..., b"", Plain()]),
    st.builds(Model, when=st.floats()), st.builds(HumanMessage, st.text()), st.builds(ValueError),
    st.builds(NoRepr), st.builds(NoText), st.builds(NoItems),
)  # fmt: skip
KEYS = st.one_of(
    st.text(), st.integers(), st.floats(), st.none(), st.binary(), st.dates(), st.booleans(),
    st.tuples(st.integers()), st.sampled_from([Colour.RED, frozenset({1})]),
    st.text(st.characters(categories=["Cs"])), st.builds(NoText),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
        st.tuples(inner, inner),
        st.builds(Data, inner, inner),
        st.builds(Point, st.integers(), inner),
        st.builds(collections.deque, st.lists(inner, max_size=3)),
        st.builds(Model, when=inner),
    ),
    max_leaves=15,
)


@given(VALUES)
def test_encode_never_raises(value: Any) -> None:
    encoded(value)


# ── On the wire ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", [["custom", "values", "updates"], ["custom", "debug", "events"]])
async def test_a_graph_may_stream_any_value(web: httpx.AsyncClient, mode: list[str]) -> None:
    thread = (await web.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "odd", "input": {}, "stream_mode": mode}
    response = await web.post(f"/threads/{thread}/runs/stream", json=body)
    events = parse_sse(response.text)
    assert events[-1] == ("end", {"status": "success"})
    custom = [data for name, data in events if name == "custom"]
    assert len(custom) == 18
    assert custom[:6] == [
        None, None, "\ufffd alone", "line\nbreak\r\n\u2028\u2029\x85 and \x00", "red",
        "<Unshowable>",
    ]  # fmt: skip
    assert custom[8:11] == [{"error": "ValueError", "message": "bad"}, 0.5, [0, 1, 2]]
    assert custom[16] == 2**80
    delivered = custom[17]
    assert isinstance(delivered, dict)
    assert delivered["bytes"] == "/wA="
    assert delivered["nul"] == "a\0b"
    if "values" in mode:
        final = [data for name, data in events if name == "values"][-1]
        assert final == {"stored": delivered, "done": True}
