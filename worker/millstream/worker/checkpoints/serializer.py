"""LangGraph's serializer, quicker where most of a conversation's time goes: messages taken apart and
put together; and strict where a class is missing.

What is stored, and what comes back, is `JsonPlusSerializer`'s, see docs/decisions/0012; but where it would give bare
data or nothing in place of an object, there is an error, see docs/decisions/0028.
"""

import io
import pickle
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, Final

import ormsgpack
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_METHOD_SINGLE_ARG,
    EXT_NUMPY_ARRAY,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
    _msgpack_default,
    _option,
)

from millstream.worker.checkpoints.classes import ClassNotFoundError, find_class, is_findable

OPTION: Final = ormsgpack.OPT_NON_STR_KEYS
STR8: Final = 0xD9  # msgpack: a text of 32 to 255 bytes, its size in one byte
# Behind a model's fields LangGraph names how they could be validated, and does not look at it again.
BEHIND: Final = ormsgpack.packb("model_validate_json")
CONSTRUCTORS: Final = frozenset(
    {"self", "content_blocks"}
)  # which they would not hand on as fields


# Extensions of msgpack that name a class, in front of what it is made of.
NAMED: Final = frozenset(
    {
        EXT_CONSTRUCTOR_SINGLE_ARG,
        EXT_CONSTRUCTOR_POS_ARGS,
        EXT_CONSTRUCTOR_KW_ARGS,
        EXT_PYDANTIC_V1,
        EXT_PYDANTIC_V2,
    }
)


class MessageSerializer(JsonPlusSerializer):
    """Dumps and loads what `JsonPlusSerializer` does, under the same allow-list."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Returns the value's kind and bytes; raises what `JsonPlusSerializer.dumps_typed` raises."""
        if obj is None or isinstance(obj, (bytes, bytearray)):
            return super().dumps_typed(obj)
        try:
            return "msgpack", ormsgpack.packb(obj, default=_apart, option=_option)
        except ormsgpack.MsgpackEncodeError:  # LangGraph may know another way
            return super().dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Returns the value.

        Raises ClassNotFoundError where LangGraph gives bare data, and what `JsonPlusSerializer.loads_typed` raises.
        """
        kind, packed = data
        if kind == "pickle" and self.pickle_fallback:
            return _Unpickler(io.BytesIO(packed)).load()
        if kind != "msgpack":
            return super().loads_typed(data)
        try:
            return ormsgpack.unpackb(packed, ext_hook=self._load, option=OPTION)
        except ValueError:  # ormsgpack keeps what its hook raised to itself
            missing: list[ClassNotFoundError] = []
            self._look_through(missing, packed)
            if missing:
                raise missing[0] from None
            raise

    def _load(self, code: int, packed: bytes) -> Any:
        """Returns what an extension of msgpack stands for."""
        if code == EXT_PYDANTIC_V2 and packed.endswith(BEHIND):
            head = _head_of(packed)
            model = MESSAGES.get(head)
            if model is not None:
                try:
                    fields = ormsgpack.unpackb(
                        packed[len(head) : -len(BEHIND)], ext_hook=self._load, option=OPTION
                    )
                    if "content" in fields and CONSTRUCTORS.isdisjoint(fields):
                        return _validated(model, fields)
                except Exception:  # noqa: BLE001, S110 - LangGraph's own way knows what to make of it
                    pass
        if code != EXT_METHOD_SINGLE_ARG:  # a date from a text
            missing: list[ClassNotFoundError] = []
            self._look(missing, code, packed)
            if missing:
                raise missing[0]
        return self._unpack_ext_hook(code, packed)

    def _look(self, missing: list[ClassNotFoundError], code: int, packed: bytes) -> None:
        """Notes the classes that an extension names, on whatever level, and that are not there."""
        if code in NAMED:
            try:
                self._require(packed)
            except ClassNotFoundError as error:
                missing.append(error)
        if code not in (EXT_METHOD_SINGLE_ARG, EXT_NUMPY_ARRAY):
            self._look_through(missing, packed)

    def _look_through(self, missing: list[ClassNotFoundError], packed: bytes) -> None:
        # Of bytes that are no msgpack, LangGraph's own way knows what to make.
        with suppress(ValueError):
            ormsgpack.unpackb(packed, ext_hook=partial(self._look, missing), option=OPTION)

    def _require(self, packed: bytes) -> None:
        """Raises ClassNotFoundError if the class that is named in front of its fields is not there."""
        head = _head_of(packed)
        if head in FOUND:
            return
        try:
            module, name, *_ = ormsgpack.unpackb(packed, ext_hook=ormsgpack.Ext, option=OPTION)
        except (TypeError, ValueError):
            return
        allowed, key = self._allowed_msgpack_modules, (module, name)
        if allowed is True or key in SAFE_MSGPACK_TYPES or key in (allowed or ()):
            find_class(module, name)
            if head:
                FOUND.add(head)

    def _revive_lc2(self, value: dict[str, Any]) -> Any:
        self._check_allowed_json_modules(value)
        *module, name = value["id"]
        find_class(".".join(module), name)
        return super()._revive_lc2(value)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        top, *rest = name.split(".")
        found = find_class(module, top)
        return super().find_class(module, name) if rest else found


def _apart(value: Any) -> Any:
    """Returns what msgpack takes for a value that it does not know."""
    model = type(value)
    if model not in TAKEN_APART:
        packed = _msgpack_default(value)
        if isinstance(packed, ormsgpack.Ext) and not is_findable(model):
            # LangGraph would store a name that leads nowhere, and give back the same: what it is made of.
            return ormsgpack.unpackb(ormsgpack.packb(packed), ext_hook=_fields, option=OPTION)
        return packed
    fields = model.__pydantic_serializer__.to_python(value)
    words = (model.__module__, model.__name__, fields, "model_validate_json")
    return ormsgpack.Ext(EXT_PYDANTIC_V2, ormsgpack.packb(words, default=_apart, option=_option))


def _fields(_: int, packed: bytes) -> Any:
    """Returns what the object of an extension is made of; what is within stays as it is."""
    return ormsgpack.unpackb(packed, ext_hook=ormsgpack.Ext, option=OPTION)[2]


def _validated(model: type[BaseMessage], fields: dict[str, Any]) -> BaseMessage:
    """Returns what `model(**fields)` does, without the four constructors on the way to pydantic.

    They hand the fields on as they are, but for those of their own (CONSTRUCTORS).
    """
    made = model.__new__(model)
    model.__pydantic_validator__.validate_python(fields, self_instance=made)
    return made


def _head_of(packed: bytes) -> bytes:
    """Returns the bytes of a packed model that come before its fields: module and name."""
    if len(packed) < 3 or packed[0] != 0x94:  # four words
        return b""
    at = 3 + packed[2] if packed[1] == STR8 else 2 + (packed[1] & 31)
    return packed[: at + 1 + (packed[at] & 31)] if at < len(packed) else b""


def _known(*models: type[BaseMessage]) -> dict[bytes, type[BaseMessage]]:
    """Returns the models by what comes before their fields: those which every allow-list allows, and
    for which a constructor does what `_validated` relies on."""
    known = {}
    for model in models:
        name = (model.__module__, model.__qualname__)
        fields: dict[str, Any] = {"content": "a", "id": "b", "extra": 1}
        if model is ToolMessage:
            fields["tool_call_id"] = "c"
        found = getattr(import_module(name[0]), name[1], None)
        if name in SAFE_MSGPACK_TYPES and found is model:
            made, built = _validated(model, {**fields}), model(**fields)
            if made == built and made.model_fields_set == built.model_fields_set:
                packed = ormsgpack.packb((*name, {}, ""))
                known[_head_of(packed)] = model
    return known


FOUND: Final[set[bytes]] = set()  # classes that are there, by what comes before their fields
MESSAGES: Final = _known(HumanMessage, AIMessage, SystemMessage, ToolMessage)
TAKEN_APART: Final = frozenset(MESSAGES.values())
