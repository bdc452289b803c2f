"""Reads and writes JSON bodies, reads ids in paths, and checks the limits of both."""

import asyncio
import json
import logging
import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import msgspec
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.context import limits_of, process_of
from millstream.api.http.json_size import SLICE_BYTES, count_values
from millstream.api.http.schema_base import RequestModel
from millstream.api.limits.caller_limits import CallerLimits
from millstream.api.uuids import canonical_uuid
from millstream.shared.errors import InvalidError, TooLargeError
from millstream.shared.wire import TOO_DEEP, to_json

log = logging.getLogger(__name__)

MAX_RPC_VALUES: Final = 10_000  # of a call of MCP or A2A, whose SDKs convert each value in Python
MAX_INLINE_BYTES: Final = 64 * 1024  # a larger body is decoded in a thread
MAX_LEVELS: Final = 250  # of a body; no checkpoint could hold 256
MAX_FIELD_NAMES: Final = 6  # in the error about a field that is nested too deep
SURROGATE: Final = re.compile("[\ud800-\udfff]")
LONG_NUMBER_DIGITS: Final = 19  # the largest numbers of 64 bits have 19 or 20
LONG_NUMBER: Final = re.compile(rb"\d{%d}" % LONG_NUMBER_DIGITS)
MAX_EXPLAINED_BYTES: Final = (
    256 * 1024
)  # of a body whose invalid field is named; another decoder must find it

# One thread: several would hold up the event loop for as long as all of them together.
LARGE_BODIES: Final = ThreadPoolExecutor(1, "large-bodies")
Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")
_logged_fields: set[tuple[str, str]] = set()  # unknown fields, by model
MAX_LOGGED_FIELDS: Final = 1000


async def read_body(request: Request) -> bytes:
    """Returns the body. Raises HTTPException 413 as soon as the body is longer than allowed."""
    max_bytes, limits = process_of(request).settings.max_body, limits_of(request)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise HTTPException(413, f"The request body is larger than {max_bytes} bytes.")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise HTTPException(413, f"The request body is larger than {max_bytes} bytes.")
        limits.hold_bytes(len(part))
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request) -> Any:
    """Returns the value of a JSON body. Raises what `read_body` and `parse` raise."""
    settings = process_of(request).settings
    return await parse(await read_body(request), limits_of(request), settings.max_values)


async def parse(data: bytes, limits: CallerLimits, max_values: int) -> Any:
    """Returns the JSON value as `decode` does, and never holds up the event loop for long.

    Raises what `decode` and `check_size` raise.
    """
    await check_size(data, limits, max_values)
    return await apart_if_large(len(data), decode, data)


async def check_size(data: bytes, limits: CallerLimits, max_values: int) -> None:
    """Counts the values of a JSON text against what its caller may hold.

    Raises TooLargeError for more than `max_values`, and what `CallerLimits.hold_values` raises.
    """
    count = await apart_if_large(len(data), count_values, data, max_values)
    if count > max_values:
        raise TooLargeError(f"The JSON has more than {max_values} values. Send less at a time.")
    limits.hold_values(count)


async def apart_if_large(size: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Returns what the function returns for a body of `size` bytes. For a large one, a thread calls it."""
    if size <= MAX_INLINE_BYTES:
        return function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(LARGE_BODIES, function, *arguments)


async def read_model(request: Request, model: type[Model], *, empty: bool = False) -> Model:
    """Returns the body as a model. With `empty`, an empty body counts as `{}`.

    Raises InvalidError or pydantic's ValidationError. Both name the field.
    """
    data = await read_body(request)
    settings = process_of(request).settings
    is_empty = empty and not data
    value = {} if is_empty else await parse(data, limits_of(request), settings.max_values)
    if not isinstance(value, dict):
        raise InvalidError("body: Input should be an object")
    parsed = await apart_if_large(len(data), model.model_validate, value)
    _note_unknown(model, value)
    return parsed


async def read_list(request: Request, model: type[Model], item: type[BaseModel]) -> Model:
    """Returns the body, a list of items, as a model.

    Raises InvalidError or pydantic's ValidationError. The message begins with the item's number.
    """
    data = await read_body(request)
    settings = process_of(request).settings
    value = await parse(data, limits_of(request), settings.max_values)
    if not isinstance(value, list):
        raise InvalidError("body: Input should be a list")
    parsed = await apart_if_large(len(data), model.model_validate, value)
    for part in value:
        _note_unknown(item, part)
    return parsed


def decode(data: bytes) -> Any:
    """Returns the JSON value. Accepts RFC 8259 alone, in UTF-8, with whole numbers of up to 64 bits.

    Raises InvalidError, with the field's name, for NaN, numbers out of range, lone surrogates and values that are
    nested too deep.
    """
    try:
        value = msgspec.json.decode(data)
        if _has_long_number(data):
            _require_64_bits(value, "")
        if data.count(b"[") + data.count(b"{") > MAX_LEVELS and _is_deeper(value, MAX_LEVELS):
            raise InvalidError(
                f"{_deep_field(value)}: nested too deep; {MAX_LEVELS} levels are the most"
            )
        return value
    except msgspec.DecodeError as error:
        raise InvalidError(f"Invalid JSON in request body: {_syntax_error(data, error)}") from None
    except UnicodeDecodeError:
        raise InvalidError("Invalid JSON in request body: it is not UTF-8") from None
    except RecursionError:
        raise InvalidError(TOO_DEEP) from None


def _has_long_number(data: bytes) -> bool:
    """Returns whether there may be a number beyond 64 bits. Looks at slices, between which another thread may run."""
    starts = range(0, len(data), SLICE_BYTES)
    return any(
        LONG_NUMBER.search(data, start, start + SLICE_BYTES + LONG_NUMBER_DIGITS)
        for start in starts
    )


def _require_64_bits(value: Any, field: str) -> None:
    """Raises InvalidError, with the field's name, for a number that no checkpoint can store."""
    if isinstance(value, dict):
        for key, item in value.items():
            _require_64_bits(item, f"{field}.{key}" if field else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _require_64_bits(item, f"{field}.{index}" if field else str(index))
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise InvalidError(f"{field or 'body'}: whole numbers beyond 64 bits can't be kept exactly")


def _is_deeper(value: Any, max_levels: int) -> bool:
    """Returns whether a value has more than `max_levels` levels of objects and lists."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(max_levels):
        level = [
            part
            for one in level
            for part in (one.values() if isinstance(one, dict) else one)
            if isinstance(part, (dict, list))
        ]
        if not level:
            return False
    return True


def _deep_field(value: Any) -> str:
    """Returns the first names of the path to the value that is nested too deep."""
    names: list[str] = []
    while len(names) < MAX_FIELD_NAMES:
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        name, value = next(
            (name, part) for name, part in parts if _is_deeper(part, MAX_LEVELS - len(names) - 1)
        )
        names.append(str(name))
    return ".".join(names) + "…"


def _syntax_error(data: bytes, error: msgspec.DecodeError) -> str:
    """Returns the field that is not JSON, and why. Without one, or of a large body, returns the decoder's message.

    Python's decoder accepts NaN and lone surrogates, so that it finds the field.
    """
    if len(data) > MAX_EXPLAINED_BYTES:
        return str(error)
    try:
        field_error = _non_json_error(json.loads(data), "")
    except (ValueError, RecursionError):
        field_error = None
    return field_error or str(error)


def _non_json_error(value: Any, field: str) -> str | None:
    if isinstance(value, dict):
        names = {key: f"{field}.{key}" if field else key for key in value}
        parts = [(part, name) for key, name in names.items() for part in (key, value[key])]
    elif isinstance(value, list):
        parts = [(item, f"{field}.{at}" if field else str(at)) for at, item in enumerate(value)]
    elif isinstance(value, float) and not math.isfinite(value):
        return f"{field or 'body'}: NaN, Infinity and numbers out of range are no JSON"
    elif isinstance(value, str) and SURROGATE.search(value):
        return f"{field or 'body'}: a text holds half of a surrogate pair, which UTF-8 can't carry"
    else:
        return None
    errors = (_non_json_error(part, name) for part, name in parts)
    return next(filter(None, errors), None)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Returns the value as a JSON response."""
    return Response(to_json(value), status, headers, media_type="application/json")


def forward_json(body: bytes) -> Response:
    """Returns a worker's JSON as the response, unchanged."""
    return Response(body, media_type="application/json")


def path_uuid(request: Request, name: str, noun: str, *, malformed: int = 422) -> str:
    """Returns the UUID in the path in its usual form. Raises what `parse_uuid` raises."""
    return parse_uuid(request.path_params[name], noun, malformed=malformed)


def parse_uuid(text: str, noun: str, *, malformed: int = 422) -> str:
    """Returns the UUID in its usual form. Raises HTTPException with the status `malformed` for an invalid text."""
    uuid = canonical_uuid(text)
    if uuid is None:
        raise HTTPException(malformed, f"Invalid {noun} ID: must be a UUID")
    return uuid


def query_model(request: Request, model: type[Model]) -> Model:
    """Returns the query parameters as a model. A parameter with several values is a list.

    A repeated value counts once: the npm SDK requests a `Location` with its query appended a second time.
    """
    values: dict[str, dict[str, None]] = {}
    for name, value in request.query_params.multi_items():
        values.setdefault(name.removesuffix("[]"), {})[value] = None
    return model.model_validate(
        {k: next(iter(v)) if len(v) == 1 else [*v] for k, v in values.items()}
    )


def _note_unknown(model: type[BaseModel], value: dict[str, Any]) -> None:
    """Logs each unknown field once, because a newer SDK may send fields that this server lacks."""
    accepted = model.accepted_names(value) if issubclass(model, RequestModel) else frozenset()
    for field in value.keys() - model.model_fields.keys() - accepted:
        logged = (model.__name__, field[:64])
        if logged not in _logged_fields and len(_logged_fields) < MAX_LOGGED_FIELDS:
            _logged_fields.add(logged)
            log.info("%s: field %r is not known here and was ignored", *logged)
