"""Assistants, and the graphs that workers serve."""

from millstream.shared.assistants.directory import (
    GONE,
    GraphDirectory,
    Resolved,
    announce,
    default_assistant,
    default_assistant_id,
)

__all__ = [
    "GONE",
    "GraphDirectory",
    "Resolved",
    "announce",
    "default_assistant",
    "default_assistant_id",
]
