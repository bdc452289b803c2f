"""Assistants, and the graphs that workers serve."""

from millstream.shared.assistants.directory import (
    UNSERVED_SECONDS,
    GraphDirectory,
    Resolved,
    announce,
    default_assistant,
    default_assistant_id,
)

__all__ = [
    "UNSERVED_SECONDS",
    "GraphDirectory",
    "Resolved",
    "announce",
    "default_assistant",
    "default_assistant_id",
]
