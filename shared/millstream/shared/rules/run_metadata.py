"""The limits of a run's metadata, so that traces and indexes accept it. Pure."""

import re
from typing import Any, Final

KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_KEYS: Final = 32
MAX_VALUE_CHARS: Final = 512


def run_metadata_error(metadata: dict[str, Any]) -> str:
    """Returns the error in a run's metadata; '' if it is valid."""
    if len(metadata) > MAX_KEYS:
        return f"at most {MAX_KEYS} keys are allowed, not {len(metadata)}"
    return next(filter(None, (_entry_error(*entry) for entry in metadata.items())), "")


def trim_run_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the first valid entries of other metadata, as many as a run may have."""
    valid = {key: item for key, item in metadata.items() if not _entry_error(key, item)}
    return dict(list(valid.items())[:MAX_KEYS])


def _entry_error(key: str, item: Any) -> str:
    if not KEY.fullmatch(key):
        return f"key {key[:70]!r} is not 1 to 64 of the characters A-Z a-z 0-9 _ -"
    if not isinstance(item, (str, int, float, bool)):
        return f"the value of {key!r} must be a string, number or boolean"
    if isinstance(item, str) and len(item) > MAX_VALUE_CHARS:
        return f"the value of {key!r} is longer than {MAX_VALUE_CHARS} characters"
    return ""
