"""Schemas of tools: short for models, equal in meaning, and complete for the check of arguments."""

import json
import time
from typing import Any, Literal

import jsonschema
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage
from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from millstream.api.mcp.schemas import ANYTHING, ToolSchemas, compact
from millstream.shared.errors import InvalidError

ONE = {"role": "user", "content": "hi"}


class Chat(TypedDict):
    messages: list[AnyMessage]


class Bare(TypedDict):
    messages: list[BaseMessage]


class Said(TypedDict):
    messages: list[HumanMessage]


class Maybe(BaseModel):
    messages: list[AnyMessage] | None = None
    last: AnyMessage | None = None


class Inner(BaseModel):
    history: list[AnyMessage] = Field(description="what was said")
    by_name: dict[str, HumanMessage] = {}


class Deep(BaseModel):
    inner: Inner


def schema_of(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema()


def size(schema: Any) -> int:
    return len(json.dumps(schema, separators=(",", ":")))


@pytest.mark.parametrize("kind", [Chat, Bare, Said, Maybe, Deep])
def test_the_schema_of_messages_is_short(kind: Any) -> None:
    short = compact(schema_of(kind))
    jsonschema.Draft202012Validator.check_schema(short)
    assert size(short) < 600
    text = json.dumps(short)
    assert '"role"' in text
    assert '"content"' in text
    assert "additional_kwargs" not in text


def test_the_schema_of_a_chat_is_complete() -> None:
    assert compact(schema_of(Chat)) == {
        "type": "object",
        "properties": {
            "messages": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "role": {"type": "string", "enum": ["user", "assistant", "system", "tool"]},
                        "content": {"type": "string"},
                    },
                    "required": ["role", "content"],
                },
            }
        },
        "required": ["messages"],
    }


def test_descriptions_stay_and_messages_are_defined_once() -> None:
    short = compact(schema_of(Deep))
    assert "what was said" in json.dumps(short)
    assert json.dumps(short).count('"role": {') == 1


# ── Others keep their meaning ───────────────────────────────────────────────────────────────


class Point(BaseModel):
    x: int = Field(ge=0, description="to the right")
    y: int | None = None


class Tree(BaseModel):
    name: str
    children: "list[Tree]" = []


class Shape(BaseModel):
    kind: Literal["line", "dot"] = "dot"
    points: list[Point]
    middle: Point | None = None
    tags: dict[str, str | int] = {}
    limit: float | None
    title: str = "untitled"
    default: int = 3
    more: Any = None


OTHERS: list[tuple[Any, list[Any], list[Any]]] = [
    (
        Shape,
        [
            {"points": [], "limit": None},
            {"points": [{"x": 1, "y": 2}], "limit": 1.5, "middle": {"x": 0}, "tags": {"a": 1}},
            {"points": [], "limit": 1, "kind": "line", "title": "t", "default": 4, "more": [1]},
        ],
        [
            {},
            {"points": []},
            {"points": [{"x": -1}], "limit": 1},
            {"points": [{}], "limit": 1},
            {"points": [], "limit": "x"},
            {"points": [], "limit": 1, "kind": "circle"},
            {"points": [], "limit": 1, "tags": {"a": []}},
            {"points": [], "limit": 1, "title": 5},
            {"points": [], "limit": 1, "default": "x"},
        ],
    ),
    (
        Tree,
        [{"name": "a"}, {"name": "a", "children": [{"name": "b", "children": []}]}],
        [{}, {"name": "a", "children": [{}]}, {"name": "a", "children": [{"name": 1}]}],
    ),
    (Document, [{"page_content": "x"}], [{}, {"page_content": 1}]),
]


@pytest.mark.parametrize(("kind", "good", "bad"), OTHERS)
def test_a_shortened_schema_accepts_the_same_values(
    kind: Any, good: list[Any], bad: list[Any]
) -> None:
    whole = schema_of(kind)
    short = compact(whole)
    assert size(short) < size(whole)
    tool = ToolSchemas(whole, {})
    for value in good:
        for schema in (whole, short):
            jsonschema.validate(value, schema)
        tool.check(value)
    for value in bad:
        for schema in (whole, short):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(value, schema)
        with pytest.raises(InvalidError):
            tool.check(value)


def test_equal_definitions_are_merged() -> None:
    point = {"type": "object", "properties": {"x": {"type": "integer", "title": "X"}}}
    schema = {
        "type": "object",
        "$defs": {"A": {**point, "title": "A"}, "B": {**point, "title": "B"}, "Unused": point},
        "properties": {
            "a": {"$ref": "#/$defs/A"},
            "b": {"$ref": "#/$defs/B"},
            "x-mcp-header": {"type": "string", "x-mcp-header": "X"},
        },
        "additionalProperties": False,
    }
    assert compact(schema) == {
        "type": "object",
        "$defs": {"A": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        "properties": {
            "a": {"$ref": "#/$defs/A"},
            "b": {"$ref": "#/$defs/A"},
            "x-mcp-header": {"type": "string"},
        },
        "additionalProperties": False,
    }


def test_the_argument_schema_is_not_modified() -> None:
    whole = schema_of(Deep)
    before = json.dumps(whole)
    compact(whole)
    ToolSchemas(whole, whole).check({"inner": {"history": []}})
    assert json.dumps(whole) == before


# ── Checks ──────────────────────────────────────────────────────────────────────────────────

ACCEPTED = [
    [],
    [ONE],
    [{"type": "human", "content": "hi", "id": "1", "additional_kwargs": {}}],
    [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    [{"role": "assistant", "content": "", "tool_calls": []}, ONE],
    ["hi"],
    [["user", "hi"]],
    "hi",
    ONE,
]


@pytest.mark.parametrize("kind", [Chat, Bare, Said, Maybe])
@pytest.mark.parametrize("messages", ACCEPTED)
def test_every_message_form_of_langchain_is_accepted(kind: Any, messages: Any) -> None:
    ToolSchemas(schema_of(kind), {}).check({"messages": messages})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "arguments: 'messages' is a required property"),
        ({"messages": None}, "arguments.messages: "),
        ({"messages": 5}, "arguments.messages: "),
        ({"messages": [5]}, "arguments.messages.0: "),
        ({"messages": [ONE, {"role": "user"}]}, "arguments.messages.1: "),
        ({"messages": [{"content": "hi"}]}, "arguments.messages.0: "),
        ({"messages": [["user"]]}, "arguments.messages.0: "),
        ({"messages": ["x" * 9999, 5]}, "arguments.messages"),
    ],
)
def test_an_invalid_argument_is_named(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=f"^{message}") as error:
        ToolSchemas(schema_of(Chat), {}).check(arguments)
    assert len(str(error.value)) < 400


def test_null_is_accepted_for_optional_arguments() -> None:
    properties = {
        "a": {"type": "string", "default": None},
        "b": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "c": {},
        "d": {"type": "string"},
    }
    tool = ToolSchemas({"type": "object", "properties": properties, "required": ["d"]}, {})
    values = {"a": None, "b": None, "c": None, "d": "x", "e": None}
    assert tool.check(values) == {"b": None, "c": None, "d": "x", "e": None}
    assert values["a"] is None
    with pytest.raises(InvalidError, match=r"^arguments\.d: None is not of type 'string'"):
        tool.check({**values, "d": None})


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"type": "object", "properties": {"a": {"type": "nonsense"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://nowhere.example/a.json"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/Gone"}}},
    ],
)
def test_an_uncheckable_schema_is_not_checked(schema: dict[str, Any]) -> None:
    ToolSchemas(schema, {}).check({"a": 1})


def test_a_result_schema_lists_its_keys() -> None:
    assert (
        ToolSchemas({}, schema_of(Shape)).output["properties"].keys()
        == schema_of(Shape)["properties"].keys()
    )
    assert ToolSchemas({}, {"type": "string"}).output == ANYTHING


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


CHOICES = [
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/T"}}, "required": [name]}
    for name in ("x", "y")
]


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        # Each level is checked twice as often as the one above.
        ({"t": {"$ref": "#/$defs/T"}}, {"t": nested(100)}),
        ({"t": {"type": "array", "items": {"type": "integer"}}}, {"t": ["no number"] * 100_000}),
        ({"t": {"$ref": "#/$defs/Chain"}}, {"t": nested(249)}),
    ],
)
def test_an_expensive_check_is_left_to_the_graph(
    schema: dict[str, Any], arguments: dict[str, Any]
) -> None:
    chain = {"anyOf": [{"type": "object", "properties": {"a": {"$ref": "#/$defs/Chain"}}}]}
    defs = {"T": {"anyOf": CHOICES}, "Chain": chain}
    tool = ToolSchemas({"type": "object", "properties": schema, "$defs": defs}, {})
    begun = time.process_time()
    assert tool.check(arguments) == arguments
    assert time.process_time() - begun < 5
    with pytest.raises(InvalidError, match=r"arguments\.t"):
        tool.check({"t": 7})  # the next argument is checked again
