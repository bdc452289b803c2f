"""Paths into a thread, such as `values.messages[-1].content`: read, and followed.

Source: the LangGraph Platform API. Names are parted by dots, places in lists stand in brackets and
count from the end if negative. What is not there is null.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

ROOTS: Final = ("values", "metadata", "config", "interrupts")
LONGEST: Final = 1000  # characters of a path
STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(-?\d{1,9})\]")

Path = list[str | int]


def parse_path(text: str) -> Path:
    """Returns the steps of a path; raises ValueError that says what is wrong with it."""
    root = re.match(r"[^.\[\]]*", text)
    assert root is not None
    if root[0] not in ROOTS:
        raise ValueError(f"the path {text[:60]!r} must start with one of {', '.join(ROOTS)}")
    if len(text) > LONGEST:
        raise ValueError(f"the path {text[:60]!r}… is longer than {LONGEST} characters")
    steps: Path = [root[0]]
    at = root.end()
    while at < len(text):
        step = STEP.match(text, at)
        if step is None:
            raise ValueError(f"the path {text[:60]!r} is not names after dots and [numbers]")
        steps.append(step[1] if step[1] is not None else int(step[2]))
        at = step.end()
    return steps


def extracted(thread: Mapping[str, Any], paths: Mapping[str, Path]) -> dict[str, Any]:
    """Returns what is found at each path of a shown thread, by the paths' names."""
    whole = {root: _decoded(thread[root]) for root in {str(path[0]) for path in paths.values()}}
    return {name: _at(whole, path) for name, path in paths.items()}


def _decoded(part: Any) -> Any:
    return msgspec.json.decode(part) if isinstance(part, msgspec.Raw) else part


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        elif isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value
