"""Texts of users' objects, as every encoder and every terminal takes them. Nothing here raises."""

from collections.abc import Callable
from typing import Any, Final

# Characters that steer a terminal; line feeds and tabs stay.
_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (9, 10)
}


def carried(text: str) -> str:
    """Returns the text with what UTF-8 can't carry, lone surrogates, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def said(say: Callable[[Any], str], value: Any) -> str:
    """Returns what `say` (`str`, `repr`) makes of the value, or `<its type>` if that raises."""
    try:
        return carried(say(value))
    except BaseException:  # a SystemExit in a `__str__` is no reason to stop either
        return f"<{type(value).__name__}>"


def printable(text: str) -> str:
    """Returns the text with control characters written out, such as `\\x1b`."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def bounded(text: str, most: int) -> str:
    """Returns at most `most` characters of the text, and says how many there were."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"
