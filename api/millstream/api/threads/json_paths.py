"""Reads paths into a thread, such as `values.messages[-1].content`, and extracts their values.

Dots separate names. Indexes of lists are in brackets, and negative ones count from the end. The value of a path that
leads nowhere is null. Source: the LangGraph Platform API.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

ROOTS: Final = ("values", "metadata", "config", "interrupts")
MAX_PATH_CHARS: Final = 1000
STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(-?\d{1,9})\]")

Path = list[str | int]


def parse_path(text: str) -> Path:
    """Returns the steps of a path. Raises ValueError for an invalid path."""
    root = re.match(r"[^.\[\]]*", text)
    assert root is not None
    if root[0] not in ROOTS:
        raise ValueError(f"the path {text[:60]!r} must start with one of {', '.join(ROOTS)}")
    if len(text) > MAX_PATH_CHARS:
        raise ValueError(f"the path {text[:60]!r}… is longer than {MAX_PATH_CHARS} characters")
    steps: Path = [root[0]]
    at = root.end()
    while at < len(text):
        step = STEP.match(text, at)
        if step is None:
            raise ValueError(
                f"the path {text[:60]!r} is invalid: write names after dots, and indexes in brackets"
            )
        steps.append(step[1] if step[1] is not None else int(step[2]))
        at = step.end()
    return steps


def extract_values(thread: Mapping[str, Any], paths: Mapping[str, Path]) -> dict[str, Any]:
    """Returns the value at each path, by the path's name. `thread` is the thread's JSON view."""
    roots = {root: _decode(thread[root]) for root in {str(path[0]) for path in paths.values()}}
    return {name: _value_at(roots, path) for name, path in paths.items()}


def _decode(part: Any) -> Any:
    return msgspec.json.decode(part) if isinstance(part, msgspec.Raw) else part


def _value_at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        elif isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value
