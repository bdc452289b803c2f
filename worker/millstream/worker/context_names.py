"""A run's context, as far as a class that is made of it knows its names."""

from dataclasses import fields, is_dataclass
from typing import Any


def known_names(context: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Returns the part of a context that a dataclass or a pydantic model takes; all of it for others."""
    if is_dataclass(schema):
        known = {field.name for field in fields(schema)}
    elif hasattr(schema, "model_fields"):  # pydantic
        known = set(schema.model_fields)
    else:
        return context
    return {key: value for key, value in context.items() if key in known}
