"""Compares the lines of two servers for one case."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

Line = tuple[str, Any]  # what it is ("event values", "thread"), and its normalised JSON


@dataclass(frozen=True)
class Difference:
    """A line that differs, or that only one server has (then the other is None)."""

    reference: Line | None
    ours: Line | None

    def __str__(self) -> str:
        if self.reference is None or self.ours is None:
            side, line = ("-", self.reference) if self.ours is None else ("+", self.ours)
            return f"{side} {_text(line)[:1000]}"
        (name, data), (other_name, other_data) = self.reference, self.ours
        if name != other_name:
            return f"- {_text(self.reference)[:600]}\n+ {_text(self.ours)[:600]}"
        return "\n".join(f"~ {name} at {at}" for at in paths(data, other_data))


def differences(reference: Sequence[Line], ours: Sequence[Line]) -> tuple[int, list[Difference]]:
    """Returns how many lines were compared, and those that differ."""
    one, other = [_text(line) for line in reference], [_text(line) for line in ours]
    different: list[Difference] = []
    count = 0
    for tag, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        count += max(b - a, d - c)
        if tag != "equal":
            different += _paired(reference[a:b], ours[c:d])
    return count, different


def _paired(reference: Sequence[Line], ours: Sequence[Line]) -> Iterator[Difference]:
    """Yields the differences of one section: lines with the same name are paired in their order."""
    left = list(ours)
    for line in reference:
        same = next((at for at, other in enumerate(left) if other[0] == line[0]), None)
        yield Difference(line, None if same is None else left.pop(same))
    for line in left:
        yield Difference(None, line)


def paths(one: Any, other: Any, at: str = "$") -> Iterator[str]:
    """Yields the paths at which two values differ, with both values."""
    if type(one) is type(other) and isinstance(one, dict):
        for key in sorted({*one, *other}):
            if key not in one:
                yield f"{at}.{key}: only ours: {_short(other[key])}"
            elif key not in other:
                yield f"{at}.{key}: only the reference's: {_short(one[key])}"
            else:
                yield from paths(one[key], other[key], f"{at}.{key}")
    elif type(one) is type(other) and isinstance(one, list) and len(one) == len(other):
        for number, (part, its) in enumerate(zip(one, other, strict=True)):
            yield from paths(part, its, f"{at}[{number}]")
    elif one != other or type(one) is not type(other):
        yield f"{at}: reference {_short(one)}, ours {_short(other)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _text(line: Line | None) -> str:
    return json.dumps(line, ensure_ascii=False, sort_keys=True)
