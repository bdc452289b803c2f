"""Selects the entries of a run's context that the graph's context class declares."""

from dataclasses import fields, is_dataclass
from typing import Any


def select_declared(context: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Returns the entries that a dataclass or a pydantic model declares; all entries for other schemas."""
    if is_dataclass(schema):
        declared = {field.name for field in fields(schema)}
    elif hasattr(schema, "model_fields"):  # pydantic
        declared = set(schema.model_fields)
    else:
        return context
    return {key: value for key, value in context.items() if key in declared}
