"""Converts users' objects to text that every encoder and every terminal accepts. No function here raises."""

from collections.abc import Callable
from typing import Any, Final

# Characters that control a terminal; line feeds and tabs stay.
_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (9, 10)
}


def replace_surrogates(text: str) -> str:
    """Returns the text with U+FFFD in place of each lone surrogate, which UTF-8 can't encode."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def convert_safely(convert: Callable[[Any], str], value: Any) -> str:
    """Returns the value as `convert` (`str`, `repr`) writes it, or `<its type>` if `convert` raises."""
    try:
        return replace_surrogates(convert(value))
    except BaseException:  # also a SystemExit in a `__str__`, which must not stop the worker
        return f"<{type(value).__name__}>"


def escape_controls(text: str) -> str:
    """Returns the text with control characters written out, such as `\\x1b`."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def truncate(text: str, max_chars: int) -> str:
    """Returns the first `max_chars` characters of a longer text, and then its length."""
    return text if len(text) <= max_chars else f"{text[:max_chars]}… ({len(text)} characters)"
