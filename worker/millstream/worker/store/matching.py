"""Which items a filter keeps, and which namespaces a pattern. Source: the store that comes with
LangGraph, InMemoryStore; where it raises, an item does not match."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final


def _same(value: Any, other: Any) -> bool:
    """Returns whether two values are the same JSON: true is not 1 there, as it is in Python."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(_same(value[k], other[k]) for k in value)
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(_same, value, other))
    return bool(value == other)


def _ordered(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Returns the comparison for numbers among each other, and texts; others have no order."""

    def compare(value: Any, other: Any) -> bool:
        for kind in (int | float, str):
            if isinstance(value, kind) and isinstance(other, kind):
                return not (isinstance(value, bool) or isinstance(other, bool)) and bool(
                    holds(value, other)
                )
        return False

    return compare


OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$eq": _same,
    "$ne": lambda value, other: not _same(value, other),
    "$gt": _ordered(lambda value, other: value > other),
    "$gte": _ordered(lambda value, other: value >= other),
    "$lt": _ordered(lambda value, other: value < other),
    "$lte": _ordered(lambda value, other: value <= other),
}


def matches(value: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    """Returns whether an item's value has all that the filter names.

    A field of the filter is what the value's field must be: operators; an object, of which the
    value's may have more fields; or anything else, which must be the same.

    Raises ValueError for an operator that there is not.
    """
    return all(_fits(value.get(name), want) for name, want in (wanted or {}).items())


def _fits(value: Any, want: Any) -> bool:
    if isinstance(want, Mapping):
        if any(str(name).startswith("$") for name in want):
            return all(_operator(name)(value, other) for name, other in want.items())
        return isinstance(value, Mapping) and matches(value, want)
    if isinstance(want, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(want)
            and all(map(_fits, value, want))
        )
    return _same(value, want)


def _operator(name: str) -> Callable[[Any, Any], bool]:
    try:
        return OPERATORS[name]
    except KeyError:
        raise ValueError(f"filter: there is no operator {name!r}") from None


def namespace_matches(namespace: Sequence[str], kind: str, pattern: Sequence[str]) -> bool:
    """Returns whether a namespace begins (`prefix`) or ends (`suffix`) as a pattern says.

    `*` in the pattern stands for any label.
    """
    if len(pattern) > len(namespace):
        return False
    part = namespace[: len(pattern)] if kind == "prefix" else namespace[-len(pattern) :]
    return all(want in ("*", label) for want, label in zip(pattern, part or (), strict=False))
