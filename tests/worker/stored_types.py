"""Values of every type that LangGraph's serialisation carries, drawn by hypothesis."""

import re
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.store.base import Item
from langgraph.types import Interrupt, Send
from pydantic import BaseModel, SecretStr


class Colour(Enum):
    """An enumeration of a user's module."""

    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    """One whose members are numbers."""

    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: float


@dataclass
class Order:
    """A dataclass."""

    number: int
    note: str
    tags: list[str]


@dataclass(frozen=True)
class Key:
    """A dataclass that can be a member of a set."""

    name: str


class Address(BaseModel):
    """A pydantic model."""

    street: str
    number: int | None = None


class Person(BaseModel):
    """One within another."""

    name: str
    home: Address
    friends: list[str] = []


# Surrogates alone are no text; lone ones can't be encoded anywhere.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(2**63), 2**64 - 1)  # what msgpack holds
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), ZoneInfo("UTC")])

HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.floats(allow_nan=False),
    TEXT,
    st.binary(max_size=12),
    st.uuids(),
    st.dates(),
    st.decimals(allow_nan=False, places=3),
    st.sampled_from(Colour),
)

SINGLE = st.one_of(
    HASHABLE,
    st.floats(),  # also NaN and the infinities
    st.decimals(),
    st.builds(bytearray, st.binary(max_size=12)),
    st.datetimes(),
    st.datetimes(timezones=st.none() | ZONES),
    st.times(),
    st.times(timezones=st.just(UTC)),
    st.timedeltas(),
    ZONES,
    st.ip_addresses(),
    st.ip_addresses(v=4, network="10.0.0.0/8"),
    st.sampled_from(Level),
    st.builds(Path, st.from_regex(r"\A[a-z]{1,8}(/[a-z]{1,8}){0,2}\Z")),
    st.sampled_from([re.compile("a+b"), re.compile(r"(?P<n>\d)", re.IGNORECASE | re.MULTILINE)]),
    st.builds(Point, NUMBERS, st.floats(allow_nan=False)),
    st.builds(Order, NUMBERS, TEXT, st.lists(TEXT, max_size=3)),
    st.builds(Key, TEXT),
    st.builds(Address, street=TEXT, number=st.none() | st.integers(0, 99)),
    st.builds(Person, name=TEXT, home=st.builds(Address, street=TEXT)),
    st.builds(SecretStr, TEXT),
    st.builds(
        np.array,
        st.lists(st.floats(width=32), max_size=6),
        dtype=st.sampled_from(["float32", "float64"]),
    ),
    st.builds(np.array, st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=3)),
    st.builds(HumanMessage, content=TEXT, id=TEXT),
    st.builds(SystemMessage, content=TEXT),
    st.builds(
        AIMessage,
        content=st.lists(st.builds(lambda t: {"type": "text", "text": t}, TEXT), max_size=2),
        tool_calls=st.lists(
            st.builds(lambda n: {"name": "f", "args": {"n": n}, "id": str(n)}, st.integers(0, 9)),
            max_size=2,
        ),
    ),
    st.builds(ToolMessage, content=TEXT, tool_call_id=TEXT, artifact=st.none() | TEXT),
    st.builds(Document, page_content=TEXT),
    st.builds(Send, TEXT, st.dictionaries(TEXT, NUMBERS, max_size=2)),
    st.builds(lambda value, n: Interrupt(value=value, id=f"{n:032x}"), TEXT, NUMBERS),
    st.builds(
        lambda key, at: Item(
            value={"k": key}, key=key, namespace=("a", "b"), created_at=at, updated_at=at
        ),
        TEXT,
        st.datetimes(timezones=st.just(UTC)),
    ),
    st.builds(ValueError, TEXT),
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.builds(deque, st.lists(inner, max_size=3)),
        st.dictionaries(TEXT, inner, max_size=3),
        st.dictionaries(st.integers(-9, 9), inner, max_size=3),
        st.sets(HASHABLE, max_size=3),
        st.frozensets(HASHABLE, max_size=3),
    )


VALUES: st.SearchStrategy[Any] = st.recursive(SINGLE, _containers, max_leaves=8)

# One of each kind that other checkpointers are known to change.
KNOWN: dict[str, Any] = {
    "enum": Colour.BLUE,
    "int enum": Level.HIGH,
    "named tuple": Point(1, 2.5),
    "dataclass": Order(1, "n", ["t"]),
    "pydantic": Person(name="n", home=Address(street="s")),
    "deque": deque([1, 2]),
    "path": Path("a/b"),
    "pattern": re.compile("a+", re.IGNORECASE),
    "uuid": uuid.UUID(int=9),
    "decimal": Decimal("1.10"),
    "secret": SecretStr("s"),
    "interrupt": Interrupt(value={"q": 1}, id="1"),
    "send": Send("node", {"n": 1}),
}


def alike(one: Any, other: Any, dump: Callable[[Any], tuple[str, bytes]]) -> bool:
    """Returns whether two values are the same; NaN is like NaN, and an array like its equal."""
    return type(one) is type(other) and (dump(one) == dump(other) or bool(one == other))
