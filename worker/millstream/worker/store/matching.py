"""Decides which items match a filter, and which namespaces match a pattern.

Source: LangGraph's InMemoryStore. Where its comparison raises, an item does not match.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final


def _is_same(value: Any, other: Any) -> bool:
    """Returns whether two values are equal in JSON, where true is not 1."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(_is_same(value[k], other[k]) for k in value)
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(_is_same, value, other))
    return bool(value == other)


def _for_ordered(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Returns a comparison that holds only for two numbers or two texts; other values have no order."""

    def compare(value: Any, other: Any) -> bool:
        for kind in (int | float, str):
            if isinstance(value, kind) and isinstance(other, kind):
                return not (isinstance(value, bool) or isinstance(other, bool)) and bool(
                    holds(value, other)
                )
        return False

    return compare


OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$eq": _is_same,
    "$ne": lambda value, other: not _is_same(value, other),
    "$gt": _for_ordered(lambda value, other: value > other),
    "$gte": _for_ordered(lambda value, other: value >= other),
    "$lt": _for_ordered(lambda value, other: value < other),
    "$lte": _for_ordered(lambda value, other: value <= other),
}


def matches(value: Mapping[str, Any], filters: Mapping[str, Any] | None) -> bool:
    """Returns whether an item's value matches every field of the filter.

    A field of the filter holds operators, an object, or another value. An object matches an object that has
    its fields and perhaps more. Another value matches the same value.

    Raises ValueError for an unknown operator.
    """
    return all(_fits(value.get(name), expected) for name, expected in (filters or {}).items())


def _fits(value: Any, expected: Any) -> bool:
    if isinstance(expected, Mapping):
        if any(str(name).startswith("$") for name in expected):
            return all(_operator(name)(value, operand) for name, operand in expected.items())
        return isinstance(value, Mapping) and matches(value, expected)
    if isinstance(expected, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(expected)
            and all(map(_fits, value, expected))
        )
    return _is_same(value, expected)


def _operator(name: str) -> Callable[[Any, Any], bool]:
    try:
        return OPERATORS[name]
    except KeyError:
        raise ValueError(f"filter: unknown operator {name!r}") from None


def namespace_matches(namespace: Sequence[str], kind: str, pattern: Sequence[str]) -> bool:
    """Returns whether a namespace begins (`prefix`) or ends (`suffix`) with a pattern; `*` matches any label."""
    if len(pattern) > len(namespace):
        return False
    part = namespace[: len(pattern)] if kind == "prefix" else namespace[-len(pattern) :]
    pairs = zip(pattern, part or (), strict=False)
    return all(expected in ("*", label) for expected, label in pairs)
