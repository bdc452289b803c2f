"""The fast serializer stores and loads the same values as LangGraph's, with the same allow-list."""

import json
import pickle
import sys
from collections import deque
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import ormsgpack
import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)
from langgraph.types import Interrupt, Send
from pydantic import BaseModel, create_model
from pydantic.v1 import BaseModel as OldModel

from millstream.worker.checkpoints import serializer
from millstream.worker.checkpoints.classes import ClassNotAllowedError, ClassNotFoundError
from millstream.worker.checkpoints.serializer import CLASS_EXTENSIONS, MESSAGES, MessageSerializer
from worker.stored_types import Address

CALL: Any = {"name": "f", "args": {"n": 1}, "id": "c", "type": "tool_call"}
USAGE: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
WITHIN = HumanMessage("within", id="w")

VALUES: list[Any] = [
    HumanMessage("é", id="1", name="n", additional_kwargs={"a": [WITHIN]}, extra={"b": 1}),
    HumanMessage([{"type": "image_url", "image_url": {"url": "u"}}, "t"]),
    HumanMessage(content_blocks=[{"type": "text", "text": "t"}]),
    SystemMessage("s" * 70_000),
    AIMessage("a", tool_calls=[CALL], usage_metadata=USAGE, response_metadata={"m": {1, 2}}),
    AIMessage("", additional_kwargs={"tool_calls": [{"id": "c", "function": {"name": "f"}}]}),
    ToolMessage("t", tool_call_id="c", artifact=Address(street="s"), status="error"),
    ToolMessage(["t", {"type": "text", "text": "u"}], tool_call_id="c", artifact=[WITHIN]),
    AIMessageChunk(content="chunk"),
    RemoveMessage("1"),
    Address(street="s", number=1),
]


def extension(*parts: Any) -> bytes:
    return ormsgpack.packb(ormsgpack.Ext(EXT_PYDANTIC_V2, ormsgpack.packb(parts)))


def human(fields: Any, *behind: Any) -> bytes:
    parts = behind or ("model_validate_json",)
    return extension(HumanMessage.__module__, "HumanMessage", fields, *parts)


# Data of another LangGraph version, or of none.
ODD = [
    human({}),
    human({"content": None}),
    human({"content": 7, "id": "x"}),
    human({"content": "a", "content_blocks": [{"type": "text", "text": "b"}]}),
    human({"content": "a", "self": 1}),
    human({"content": "a", "type": "ai"}),
    human("content"),
    human(["content"]),
    human({"content": "a"}, "model_validate"),
    human({"content": "a"}, "more", "model_validate_json"),
    human({"content": "a"}, 1),
    extension("model_validate_json"),
    extension(),
    ormsgpack.packb(ormsgpack.Ext(EXT_PYDANTIC_V2, b"\x94\xd9")),
    ormsgpack.packb(ormsgpack.Ext(EXT_PYDANTIC_V2, b"")),
]


def comparable(value: Any) -> Any:
    """Returns a comparable form of a value, including the fields that were set."""
    attributes = getattr(value, "__dict__", None)
    sets = getattr(value, "model_fields_set", None), getattr(value, "model_extra", None)
    return type(value), repr(value), repr(attributes), sets


def warning(serde: JsonPlusSerializer, packed: bytes) -> Any:
    """Returns the loaded value, or the exception."""
    try:
        return comparable(serde.loads_typed(("msgpack", packed)))
    except Exception as error:  # noqa: BLE001
        return type(error)


def test_common_messages_take_the_fast_path() -> None:
    assert set(MESSAGES.values()) == {HumanMessage, AIMessage, SystemMessage, ToolMessage}


@pytest.mark.parametrize("strict", [False, True])
def test_loaded_values_equal_those_of_langgraphs_serializer(strict: bool) -> None:
    allowed: Any = None if strict else True
    ours = MessageSerializer(allowed_msgpack_modules=allowed)
    theirs = JsonPlusSerializer(allowed_msgpack_modules=allowed)
    for value in [*VALUES, VALUES, {"m": tuple(VALUES)}, None, b"b", bytearray(b"c")]:
        stored = ours.dumps_typed(value)
        assert stored == theirs.dumps_typed(value)
        assert comparable(ours.loads_typed(stored)) == comparable(theirs.loads_typed(stored))
    for packed in ODD:
        assert warning(ours, packed) == warning(theirs, packed)


def test_the_allow_list_applies_when_it_grows_and_within_messages() -> None:
    strict = MessageSerializer(allowed_msgpack_modules=None)
    stored = strict.dumps_typed(ToolMessage("t", tool_call_id="c", artifact=Address(street="s")))
    bare = strict.dumps_typed(Address(street="s"))
    assert isinstance(strict.loads_typed(bare), dict)
    wider = strict.with_msgpack_allowlist([Address])
    assert isinstance(wider, MessageSerializer)
    assert wider.loads_typed(bare) == Address(street="s")
    assert isinstance(strict.loads_typed(bare), dict)
    assert isinstance(wider.loads_typed(stored), ToolMessage)


def test_loaded_messages_share_no_state() -> None:
    serde = MessageSerializer()
    stored = serde.dumps_typed([HumanMessage("a", additional_kwargs={"k": []})])
    first, second = serde.loads_typed(stored)[0], serde.loads_typed(stored)[0]
    first.additional_kwargs["k"].append(1)
    assert second.additional_kwargs == {"k": []}


def test_encrypted_messages_are_decrypted() -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(MessageSerializer(), key=b"k" * 32)
    stored = serde.dumps_typed(VALUES)
    assert b"within" not in stored[1]
    plain = JsonPlusSerializer()
    assert repr(serde.loads_typed(stored)) == repr(plain.loads_typed(plain.dumps_typed(VALUES)))


# ── Classes that are missing ────────────────────────────────────────────────────────────────


class Colour(Enum):
    RED = "red"


class Pair(NamedTuple):
    one: int
    two: Colour


@dataclass
class Plan:
    steps: list[str]
    within: Any = None


class Model(BaseModel):
    a: int = 1
    any: Any = None


class Old(OldModel):
    a: int = 1


KINDS: list[Any] = [
    Colour.RED, Pair(1, Colour.RED), Plan(["s"]), Model(), Old(), Plan(["s"], Plan([])), {Colour.RED},
    HumanMessage("m", additional_kwargs={"p": Colour.RED}), {"k": [[Model(any=Colour.RED)]]},
    Send("node", Plan([])), Interrupt(value=Plan([]), id="i"),
    ToolMessage("t", tool_call_id="c", artifact=deque([Colour.RED])),
]  # fmt: skip


@pytest.mark.parametrize("value", KINDS, ids=lambda value: str(type(value)))
@pytest.mark.parametrize("gone", ["class", "module"])
def test_an_object_is_loaded_or_raises(
    value: Any, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serde = MessageSerializer()
    stored = serde.dumps_typed(value)
    assert stored == JsonPlusSerializer().dumps_typed(value)
    assert repr(serde.loads_typed(stored)) == repr(value)
    names = {"Colour", "Pair", "Plan", "Model", "Old"}
    if gone == "class":
        for name in names:
            monkeypatch.delattr(sys.modules[__name__], name)
    else:
        moved = __name__[:-1] + "0"  # of the same length
        stored = (stored[0], stored[1].replace(__name__.encode(), moved.encode()))
    monkeypatch.setattr(serializer, "EXISTING_CLASSES", set())
    with pytest.raises(ClassNotFoundError) as caught:
        serde.loads_typed(stored)
    assert any(f"A stored {name} can't be read" in str(caught.value) for name in names)
    assert "keep its old name" in str(caught.value)
    strict = MessageSerializer(allowed_msgpack_modules=None)  # which loads it as plain data
    assert comparable(strict.loads_typed(stored)) == comparable(
        JsonPlusSerializer(allowed_msgpack_modules=None).loads_typed(stored)
    )


@pytest.mark.parametrize(
    "packed",
    [
        extension(HumanMessage.__module__, "NoMessage", {"content": "a"}, "model_validate_json"),
        extension("m" * 300, "n", {}, "model_validate_json"),
        extension("m", "n" * 40, {}, "model_validate_json"),
    ],
)
def test_a_class_name_of_any_length_is_resolved(packed: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ClassNotFoundError, match="can't be read"):
            MessageSerializer().loads_typed(("msgpack", packed))


def test_a_class_that_can_not_be_imported_is_stored_as_plain_data(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @dataclass
    class Plan:  # another class than the module's
        steps: list[str]
        colour: Colour

    class Outer:
        class Kind(Enum):
            ONE = "one"

    serde = MessageSerializer()
    value = [
        Plan(["s"], Colour.RED),
        Plan([], Colour.RED),
        Outer.Kind.ONE,
        create_model("Made", a=(int, 1))(),
    ]
    loaded = serde.loads_typed(serde.dumps_typed(value))
    assert loaded == [
        {"steps": ["s"], "colour": Colour.RED}, {"steps": [], "colour": Colour.RED}, "one", {"a": 1},
    ]  # fmt: skip
    assert [message.split(" are stored")[0].rpartition(".")[2] for message in caplog.messages] == [
        "Plan", "Kind", "Made",
    ]  # fmt: skip


def test_pickles_and_old_json_follow_the_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    serde = MessageSerializer(pickle_fallback=True, allowed_json_modules=True)
    packed_value = ("pickle", pickle.dumps([Plan([]), Colour.RED]))
    old = (
        "json",
        json.dumps(
            {"lc": 2, "type": "constructor", "id": [__name__, "Plan"], "kwargs": {"steps": []}}
        ).encode(),
    )
    assert serde.loads_typed(packed_value) == [Plan([]), Colour.RED]
    assert serde.loads_typed(old) == Plan([])
    with pytest.raises(NotImplementedError):
        MessageSerializer().loads_typed(packed_value)
    monkeypatch.delattr(sys.modules[__name__], "Plan")
    for stored in (packed_value, old):
        with pytest.raises(ClassNotFoundError, match="A stored Plan can't be read"):
            serde.loads_typed(stored)


# ── Names that are no class of stored objects ───────────────────────────────────────────────

CALLS: list[Any] = []


def a_function(*args: Any, **kwargs: Any) -> None:
    CALLS.append((args, kwargs))


class Connection:
    """A class whose objects LangGraph does not store."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        CALLS.append((args, kwargs))


@pytest.mark.parametrize("code", sorted(CLASS_EXTENSIONS))
@pytest.mark.parametrize("name", ["a_function", "Connection"])
@pytest.mark.parametrize("depth", ["alone", "in a list", "in an object"])
def test_stored_data_calls_no_function(code: int, name: str, depth: str) -> None:
    arguments: Any = {"a": 1} if code not in (0, 1) else ["a"]
    packed: Any = ormsgpack.Ext(code, ormsgpack.packb((__name__, name, arguments, "m")))
    if depth == "in a list":
        packed = [[packed]]
    if depth == "in an object":
        plan = ormsgpack.packb((__name__, "Plan", {"steps": [], "within": packed}))
        packed = ormsgpack.Ext(EXT_CONSTRUCTOR_KW_ARGS, plan)
    stored = ("msgpack", ormsgpack.packb(packed))
    CALLS.clear()
    with pytest.raises(ClassNotAllowedError, match=rf"{name} is not a dataclass.*allowed_msgpack"):
        MessageSerializer().loads_typed(stored)
    assert not CALLS
    listed = MessageSerializer(allowed_msgpack_modules=[(__name__, name), (__name__, "Plan")])
    listed.loads_typed(stored)
    assert CALLS
    with pytest.raises(ClassNotAllowedError):  # the list of one serializer holds for no other
        MessageSerializer().loads_typed(stored)


def test_stored_data_starts_no_program() -> None:
    for module in ("venv.__main__", "this.__main__", "pip.__main__"):
        packed = ormsgpack.packb((module, "Plan", {}))
        stored = ormsgpack.packb(ormsgpack.Ext(EXT_CONSTRUCTOR_KW_ARGS, packed))
        with pytest.raises(ClassNotAllowedError):
            MessageSerializer().loads_typed(("msgpack", stored))
        assert module not in sys.modules


def test_a_module_that_exits_when_it_is_imported_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script_that_exits.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    packed = ormsgpack.packb(("script_that_exits", "Plan", {}))
    stored = ormsgpack.packb(ormsgpack.Ext(EXT_CONSTRUCTOR_KW_ARGS, packed))
    with pytest.raises(ClassNotFoundError, match="script_that_exits can't be imported: SystemExit"):
        MessageSerializer().loads_typed(("msgpack", stored))


def replaced(model: type) -> Any:
    return lambda **fields: model(**fields)


@dataclass
class Wrapped:
    a: int = 1


Original = Wrapped
Wrapped = replaced(Wrapped)  # type: ignore[misc]


def test_a_class_that_a_decorator_replaced_is_stored_as_plain_data() -> None:
    assert MessageSerializer().loads_typed(MessageSerializer().dumps_typed(Original())) == {"a": 1}
