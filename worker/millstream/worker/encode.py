"""Encodes all that a graph emits as JSON that every client can read. No value makes it raise."""

import base64
import json
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

import orjson
from langgraph.types import Send

from millstream.worker.client_errors import show_error
from millstream.worker.safe_text import convert_safely, replace_surrogates

OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
MAX_DEPTH: Final = 100  # a value that is nested deeper is encoded as its repr
MAX_REPR_CHARS: Final = 10_000


def encode(value: Any) -> bytes:
    """Returns `value` as compact JSON on one line.

    orjson encodes datetime, date, time, UUID, Enum, dataclasses and numpy arrays. Messages and pydantic models
    become their `model_dump()`, exceptions `{"error": type, "message": text}`, sets lists, a `Send` its node and
    `args`, bytes base64, Decimal and timedelta numbers, NaN and infinities null. Lone surrogates, which UTF-8
    can't encode, become U+FFFD. Any other value becomes its repr.
    """
    try:
        return orjson.dumps(value, default=_default, option=OPTIONS)
    except Exception:  # orjson does not name the part that it rejects: Python converts all parts
        return json.dumps(_plain(value, ()), ensure_ascii=False, separators=(",", ":")).encode()


def _default(value: Any) -> Any:
    """Returns a step towards JSON for a value that orjson does not know."""
    for types, step in STEPS:
        if isinstance(value, types):
            return step(value)
    for name in ("model_dump", "to_dict", "dict", "_asdict"):
        dump = getattr(value, name, None)
        if callable(dump):
            try:
                return dump()
            except BaseException:  # also a SystemExit, which would stop the worker
                break
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, list)):  # a subclass
        return list(value)
    if isinstance(value, (str, int)):
        return str(value)
    return _repr(value)


def _number(value: Decimal) -> int | float | None:
    if not value.is_finite():
        return None
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)


# Types that orjson does not know, and the step towards JSON.
STEPS: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...]] = (
    (BaseException, show_error),
    (Send, lambda send: {"node": send.node, "args": send.arg}),
    ((set, frozenset, deque), list),
    ((bytes, bytearray, memoryview), lambda data: base64.b64encode(bytes(data)).decode()),
    (Decimal, _number),
    (timedelta, timedelta.total_seconds),
    ((tzinfo, PurePath), str),
    (type, lambda cls: f"{cls.__module__}.{cls.__qualname__}"),
)


def _plain(value: Any, containers: tuple[int, ...]) -> Any:
    """Returns `value` as dicts, lists, strings and numbers that the json module accepts.

    `containers` holds the ids of the values that contain it. A value that contains itself becomes its repr.
    """
    if value is None or isinstance(value, bool):
        return value
    if len(containers) > MAX_DEPTH or id(value) in containers:
        return _repr(value)
    try:
        return _convert(value, (*containers, id(value)))
    except BaseException:
        return _repr(value)


def _convert(value: Any, containers: tuple[int, ...]) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value, containers)
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(k): _plain(v, containers) for k, v in list(value.items())}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict(), containers)
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return [_plain(item, containers) for item in list(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name, None), containers) for f in fields(value)}
    try:
        # A value that orjson knows by itself, such as a datetime, a UUID or a numpy array.
        return orjson.loads(orjson.dumps(value, option=OPTIONS))
    except Exception:
        return _plain(_default(value), containers)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return replace_surrogates(key)
    try:
        [text] = orjson.loads(orjson.dumps({key: None}, option=OPTIONS))
        return str(text)
    except Exception:
        return convert_safely(str, key)


def _repr(value: Any) -> str:
    return convert_safely(repr, value)[:MAX_REPR_CHARS]


def show_interrupt(interrupt: Any) -> dict[str, Any]:
    """Returns one of LangGraph's interrupts in the form of states and threads.

    It has the schema of the answer if the graph set one. Source: langgraph-api 0.16.
    """
    view = {"id": interrupt.id, "value": interrupt.value}
    schema = getattr(interrupt, "response_schema", None)  # missing in older LangGraph
    return view if schema is None else {**view, "response_schema": schema}
