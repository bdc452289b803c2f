"""What the metadata of a run may be: little, and of a form that traces and indexes take. Pure."""

import re
from typing import Any, Final

KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
MOST_KEYS: Final = 32
LONGEST: Final = 512  # characters


def run_metadata_error(metadata: dict[str, Any]) -> str:
    """Returns what is wrong with a run's metadata, '' if nothing is."""
    if len(metadata) > MOST_KEYS:
        return f"at most {MOST_KEYS} keys are allowed, not {len(metadata)}"
    return next(filter(None, (_wrong_with(*entry) for entry in metadata.items())), "")


def trim_run_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns what of somebody's metadata a run can have: the first entries of the right form."""
    fit = {key: item for key, item in metadata.items() if not _wrong_with(key, item)}
    return dict(list(fit.items())[:MOST_KEYS])


def _wrong_with(key: str, item: Any) -> str:
    if not KEY.fullmatch(key):
        return f"key {key[:70]!r} is not 1 to 64 of the characters A-Z a-z 0-9 _ -"
    if not isinstance(item, (str, int, float, bool)):
        return f"the value of {key!r} must be a string, number or boolean"
    if isinstance(item, str) and len(item) > LONGEST:
        return f"the value of {key!r} is longer than {LONGEST} characters"
    return ""
