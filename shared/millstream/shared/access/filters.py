"""Filters on metadata, with which an authorisation restricts a caller to some of the records.

A filter is a mapping from names of metadata to a value, to `{"$eq": value}` or to `{"$contains": item or items}` (of a
list); `$and` and `$or` combine filters. A record must meet all of it. Source: `langgraph_sdk.Auth`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 16  # of `$and` and `$or`


class FilterError(ValueError):
    """A filter that can't be applied, so that it must deny."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A valid filter. Make it with `Filter.of`; one without conditions allows everything."""

    conditions: tuple[tuple[str, str, Any], ...]  # (name, operator, operand), all of which hold

    @classmethod
    def of(cls, value: Any, depth: int = 0) -> "Filter":
        """Returns the filter that a handler returned. Raises FilterError for an unknown operator or value."""
        if not isinstance(value, Mapping) or depth > MAX_DEPTH:
            raise FilterError(f"a filter must be a dict, nested at most {MAX_DEPTH} levels")
        conditions: list[tuple[str, str, Any]] = []
        for name, operand in value.items():
            if not isinstance(name, str):
                raise FilterError(f"{name!r}: names of metadata are texts")
            if name in ("$and", "$or"):
                if not isinstance(operand, list | tuple) or not operand:
                    raise FilterError(f"{name}: must be a list of filters")
                conditions.append(("", name, tuple(cls.of(each, depth + 1) for each in operand)))
            elif name.startswith("$"):
                raise FilterError(f"{name}: unknown operator")
            elif isinstance(operand, Mapping):
                conditions += _operators(name, operand)
            else:
                conditions.append((name, "$eq", _as_json(name, operand)))
        return cls(tuple(conditions))

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Returns whether a record with this metadata may be reached."""
        return all(_holds(condition, metadata) for condition in self.conditions)

    def equalities(self) -> dict[str, Any]:
        """Returns names whose value must be equal to one value, which every match has."""
        equal: dict[str, Any] = {}
        for name, operator, operand in self.conditions:
            if operator == "$eq":
                equal[name] = operand
            elif operator == "$and":
                for part in operand:
                    equal |= part.equalities()
        return equal

    @property
    def is_equalities(self) -> bool:
        """Whether `equalities` is all of it, with one value each."""
        names = [name for name, operator, _ in self.conditions if operator == "$eq"]
        return len(names) == len(self.conditions) == len(set(names))

    def merge_into(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the metadata of a record to create, with what makes it meet the filter, except for `$or`."""
        merged = dict(metadata)
        for name, operator, operand in self.conditions:
            if operator == "$eq":
                merged[name] = operand
            elif operator == "$contains":
                items = merged.get(name)
                items = list(items) if isinstance(items, list) else []
                merged[name] = items + [each for each in operand if each not in items]
            elif operator == "$and":
                for part in operand:
                    merged = part.merge_into(merged)
        return merged


def _operators(name: str, operand: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    conditions: list[tuple[str, str, Any]] = []
    for operator, value in operand.items():
        if operator == "$eq":
            conditions.append((name, operator, _as_json(name, value)))
        elif operator == "$contains":
            items = value if isinstance(value, list | tuple) else [value]
            conditions.append((name, operator, [_as_json(name, each) for each in items]))
        else:
            raise FilterError(f"{name}: unknown operator {operator!r}")
    if not conditions:
        raise FilterError(f"{name}: a dict must have an operator: $eq or $contains")
    return conditions


def _as_json(name: str, value: Any) -> Any:
    """Returns the value as it is compared with stored metadata."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError):
        raise FilterError(f"{name}: {type(value).__name__} is not a JSON value") from None


def _holds(condition: tuple[str, str, Any], metadata: Mapping[str, Any]) -> bool:
    name, operator, operand = condition
    if operator == "$and":
        return all(part.matches(metadata) for part in operand)
    if operator == "$or":
        return any(part.matches(metadata) for part in operand)
    if name not in metadata:
        return False
    if operator == "$eq":
        return _equal(metadata[name], operand)
    stored = metadata[name]
    return isinstance(stored, list) and all(
        any(_equal(item, each) for item in stored) for each in operand
    )


def _equal(one: Any, other: Any) -> bool:
    """Returns whether two JSON values are equal. In Python, but not in JSON, `True == 1`."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
