"""LangGraph's serializer, faster for messages, and strict where a class is missing.

The stored bytes and the loaded objects are those of `JsonPlusSerializer`: see docs/decisions/0012. But where it would
load plain data or None in place of an object, this serializer raises an error: see docs/decisions/0028.
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

from millstream.worker.checkpoints.classes import (
    ClassNotFoundError,
    find_class,
    find_data_class,
    is_data_class,
    is_findable,
)

OPTION: Final = ormsgpack.OPT_NON_STR_KEYS
STR8: Final = 0xD9  # msgpack: a text of 32 to 255 bytes, its size in one byte
FOUR_ELEMENTS: Final = 0x94  # msgpack: an array of four
# After a model's fields LangGraph writes the name of a validator, which it never reads.
TRAILER: Final = ormsgpack.packb("model_validate_json")
# Arguments that the constructors of messages consume instead of passing them on as fields.
CONSUMED: Final = frozenset({"self", "content_blocks"})

# Extensions of msgpack that hold the name of a class, then the data of the object.
CLASS_EXTENSIONS: Final = frozenset(
    {
        EXT_CONSTRUCTOR_SINGLE_ARG,
        EXT_CONSTRUCTOR_POS_ARGS,
        EXT_CONSTRUCTOR_KW_ARGS,
        EXT_PYDANTIC_V1,
        EXT_PYDANTIC_V2,
    }
)


class MessageSerializer(JsonPlusSerializer):
    """Dumps and loads as `JsonPlusSerializer` does, under the same allow-list."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Returns the value's kind and bytes; raises the errors of `JsonPlusSerializer.dumps_typed`."""
        if obj is None or isinstance(obj, (bytes, bytearray)):
            return super().dumps_typed(obj)
        try:
            return "msgpack", ormsgpack.packb(obj, default=_to_packable, option=_option)
        except ormsgpack.MsgpackEncodeError:  # LangGraph may pickle it
            return super().dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Returns the value.

        Raises ClassNotFoundError where LangGraph would return plain data, and the errors of
        `JsonPlusSerializer.loads_typed`.
        """
        kind, packed = data
        if kind == "pickle" and self.pickle_fallback:
            return _Unpickler(io.BytesIO(packed)).load()
        if kind != "msgpack":
            return super().loads_typed(data)
        try:
            return ormsgpack.unpackb(packed, ext_hook=self._load, option=OPTION)
        except ValueError:  # ormsgpack hides the exception that its hook raised
            missing: list[ClassNotFoundError] = []
            self._collect_missing(missing, packed)
            if missing:
                raise missing[0] from None
            raise

    def _load(self, code: int, packed: bytes) -> Any:
        """Returns the object of a msgpack extension."""
        if code == EXT_PYDANTIC_V2 and packed.endswith(TRAILER):
            head = _head_of(packed)
            model = MESSAGES.get(head)
            if model is not None:
                try:
                    fields = ormsgpack.unpackb(
                        packed[len(head) : -len(TRAILER)], ext_hook=self._load, option=OPTION
                    )
                    if "content" in fields and CONSUMED.isdisjoint(fields):
                        return _construct(model, fields)
                except Exception:  # noqa: BLE001, S110 - LangGraph's own code below decides
                    pass
        if code != EXT_METHOD_SINGLE_ARG:  # a date from a text
            missing: list[ClassNotFoundError] = []
            self._collect_missing_of(missing, code, packed)
            if missing:
                raise missing[0]
        return self._unpack_ext_hook(code, packed)

    def _collect_missing_of(
        self, missing: list[ClassNotFoundError], code: int, packed: bytes
    ) -> None:
        """Adds an error for each missing class that the extension names, on all levels."""
        if code in CLASS_EXTENSIONS:
            try:
                self._require_class(packed)
            except ClassNotFoundError as error:
                missing.append(error)
        if code not in (EXT_METHOD_SINGLE_ARG, EXT_NUMPY_ARRAY):
            self._collect_missing(missing, packed)

    def _collect_missing(self, missing: list[ClassNotFoundError], packed: bytes) -> None:
        with suppress(ValueError):  # not msgpack: LangGraph's own code decides
            hook = partial(self._collect_missing_of, missing)
            ormsgpack.unpackb(packed, ext_hook=hook, option=OPTION)

    def _require_class(self, packed: bytes) -> None:
        """Raises ClassNotFoundError if the class of a packed object is missing or not one of stored objects."""
        head = _head_of(packed)
        if head in EXISTING_CLASSES:
            return
        try:
            module, name, *_ = ormsgpack.unpackb(packed, ext_hook=ormsgpack.Ext, option=OPTION)
        except (TypeError, ValueError):
            return
        allowed, key = self._allowed_msgpack_modules, (module, name)
        if key in SAFE_MSGPACK_TYPES or key in (() if allowed is True else allowed or ()):
            cacheable = is_data_class(find_class(module, name))
        elif cacheable := allowed is True:
            find_data_class(module, name)
        if cacheable and head:
            EXISTING_CLASSES.add(head)

    def _revive_lc2(self, value: dict[str, Any]) -> Any:
        self._check_allowed_json_modules(value)
        *module, name = value["id"]
        find_class(".".join(module), name)
        return super()._revive_lc2(value)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        top, *nested = name.split(".")
        attribute = find_class(module, top)
        return super().find_class(module, name) if nested else attribute


def _to_packable(value: Any) -> Any:
    """Returns a form of the value that msgpack accepts."""
    model = type(value)
    if model not in MESSAGE_CLASSES:
        packed = _msgpack_default(value)
        if isinstance(packed, ormsgpack.Ext) and not is_findable(model):
            # LangGraph would store a name under which no class exists, and load this plain data.
            return ormsgpack.unpackb(ormsgpack.packb(packed), ext_hook=_data_of, option=OPTION)
        return packed
    fields = model.__pydantic_serializer__.to_python(value)
    parts = (model.__module__, model.__name__, fields, "model_validate_json")
    data = ormsgpack.packb(parts, default=_to_packable, option=_option)
    return ormsgpack.Ext(EXT_PYDANTIC_V2, data)


def _data_of(_: int, packed: bytes) -> Any:
    """Returns the data of an extension's object; extensions in it stay packed."""
    return ormsgpack.unpackb(packed, ext_hook=ormsgpack.Ext, option=OPTION)[2]


def _construct(model: type[BaseMessage], fields: dict[str, Any]) -> BaseMessage:
    """Returns `model(**fields)`, but calls pydantic without the four constructors in between.

    The constructors pass all fields on unchanged except CONSUMED.
    """
    message = model.__new__(model)
    model.__pydantic_validator__.validate_python(fields, self_instance=message)
    return message


def _head_of(packed: bytes) -> bytes:
    """Returns the bytes in front of a packed model's fields: its module and its name."""
    if len(packed) < 3 or packed[0] != FOUR_ELEMENTS:
        return b""
    at = 3 + packed[2] if packed[1] == STR8 else 2 + (packed[1] & 31)
    return packed[: at + 1 + (packed[at] & 31)] if at < len(packed) else b""


def _by_head(*models: type[BaseMessage]) -> dict[bytes, type[BaseMessage]]:
    """Returns the message classes by the bytes in front of their fields.

    Only classes that every allow-list allows, and for which `_construct` does what the constructor does.
    """
    by_head = {}
    for model in models:
        name = (model.__module__, model.__qualname__)
        fields: dict[str, Any] = {"content": "a", "id": "b", "extra": 1}
        if model is ToolMessage:
            fields["tool_call_id"] = "c"
        attribute = getattr(import_module(name[0]), name[1], None)
        if name in SAFE_MSGPACK_TYPES and attribute is model:
            fast, slow = _construct(model, {**fields}), model(**fields)
            if fast == slow and fast.model_fields_set == slow.model_fields_set:
                packed = ormsgpack.packb((*name, {}, ""))
                by_head[_head_of(packed)] = model
    return by_head


EXISTING_CLASSES: Final[set[bytes]] = set()  # the bytes in front of their objects' fields
MESSAGES: Final = _by_head(HumanMessage, AIMessage, SystemMessage, ToolMessage)
MESSAGE_CLASSES: Final = frozenset(MESSAGES.values())
