"""What a graph produces, as JSON that every client can read. Nothing that a graph emits raises."""

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

from millstream.worker.failure import error_of
from millstream.worker.safe_text import convert_safely, replace_surrogates

OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
DEPTH: Final = 100  # nested deeper than this, a value is shown as its repr


def encode(value: Any) -> bytes:
    """Returns `value` as compact JSON on one line.

    datetime, date, time, UUID, Enum, dataclasses and numpy arrays are orjson's; messages and
    pydantic models are their `model_dump()`, exceptions `{"error": type, "message": text}`, sets
    lists, a `Send` its node and `args`, bytes base64, Decimal and timedelta numbers, NaN and
    infinities null. Lone surrogates, which no UTF-8 can carry, become U+FFFD. Anything else is
    shown as its repr.
    """
    try:
        return orjson.dumps(value, default=_default, option=OPTIONS)
    except Exception:  # orjson can't say which part it stumbled over: go through all, in Python
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
            except BaseException:  # SystemExit too: it would end the run behind its own end
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


# What orjson does not know, and the step towards JSON.
STEPS: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...]] = (
    (BaseException, error_of),
    (Send, lambda send: {"node": send.node, "args": send.arg}),
    ((set, frozenset, deque), list),
    ((bytes, bytearray, memoryview), lambda data: base64.b64encode(bytes(data)).decode()),
    (Decimal, _number),
    (timedelta, timedelta.total_seconds),
    ((tzinfo, PurePath), str),
    (type, lambda cls: f"{cls.__module__}.{cls.__qualname__}"),
)


def _plain(value: Any, above: tuple[int, ...]) -> Any:
    """Returns `value` as dicts, lists, strings and numbers that the json module takes.

    `above` holds the ids of what the value lies in: what lies in itself is shown as its repr.
    """
    if value is None or isinstance(value, bool):
        return value
    if len(above) > DEPTH or id(value) in above:
        return _repr(value)
    try:
        return _opened(value, (*above, id(value)))
    except BaseException:
        return _repr(value)


def _opened(value: Any, above: tuple[int, ...]) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value, above)
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(k): _plain(v, above) for k, v in list(value.items())}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict(), above)
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return [_plain(item, above) for item in list(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name, None), above) for f in fields(value)}
    try:
        # What orjson knows by itself (datetime, UUID, numpy …) it can still do alone.
        return orjson.loads(orjson.dumps(value, option=OPTIONS))
    except Exception:
        return _plain(_default(value), above)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return replace_surrogates(key)
    try:
        [text] = orjson.loads(orjson.dumps({key: None}, option=OPTIONS))
        return str(text)
    except Exception:
        return convert_safely(str, key)


def _repr(value: Any) -> str:
    return convert_safely(repr, value)[:10_000]


def show_interrupt(interrupt: Any) -> dict[str, Any]:
    """Returns one of LangGraph's interrupts as states and threads show it.

    The schema of the answer is there if the graph gave one. Source: langgraph-api 0.16.
    """
    shown = {"id": interrupt.id, "value": interrupt.value}
    schema = getattr(interrupt, "response_schema", None)  # older LangGraph has none
    return shown if schema is None else {**shown, "response_schema": schema}
