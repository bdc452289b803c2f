"""Escapes characters that forge a line, or change what a terminal shows of it. Pure."""

import json
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

# Control characters with ESC and line feeds, separators of lines, marks and overrides of the direction of writing,
# invisible characters, halves of surrogate pairs, and tags. Joiners stay, because scripts and emoji need them.
UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
AS_TEXT: Final = (UUID, date, PurePath, Decimal)  # their `str` says more than their `repr`


def escaped(text: str) -> str:
    """Returns the text with unsafe characters written out, such as `\\n`, `\\x1b` and `\\u202e`."""
    return text if text.isprintable() else UNSAFE.sub(_write_out, text)


def describe(value: Any) -> str:
    """Returns an object as text. Never raises: the project's `__str__` and `__repr__` may."""
    try:
        return str(value) if isinstance(value, (str, *AS_TEXT)) else repr(value)
    except (Exception, SystemExit):  # noqa: BLE001
        return f"<{type(value).__name__}>"


def _encoder(*, ascii_only: bool) -> Callable[[Any], str]:
    return json.JSONEncoder(
        ensure_ascii=ascii_only, allow_nan=False, default=describe, separators=(",", ":")
    ).encode


_ENCODERS: Final = {ascii_only: _encoder(ascii_only=ascii_only) for ascii_only in (False, True)}


def json_line(fields: dict[str, Any], *, ascii_only: bool = False) -> str:
    """Returns the fields as one line of JSON, whatever their values are.

    Unsafe characters are escaped as JSON does it, so a parser returns the original text.
    """
    encode = _ENCODERS[ascii_only]
    try:
        text = encode(fields)
    except Exception:  # noqa: BLE001 - NaN, a cycle, keys of other types, too many levels
        text = encode({describe(name): _plain(value) for name, value in fields.items()})
    return text if text.isprintable() else UNSAFE.sub(_as_json, text)


def _plain(value: Any) -> str | int | bool | None:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    return describe(value)


def _write_out(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if short := SHORT.get(character):
        return short
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _as_json(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]
