"""A project's langgraph.json: read once, for all processes; and what it does to a process."""

from millstream.shared.langgraph_json.config import ProjectConfig
from millstream.shared.langgraph_json.environment import ENTERED, enter, read_env
from millstream.shared.langgraph_json.reader import (
    CONFIG,
    EXAMPLE,
    ProjectFile,
    folder_of,
    read_content,
    read_project,
)

__all__ = [
    "CONFIG",
    "ENTERED",
    "EXAMPLE",
    "ProjectConfig",
    "ProjectFile",
    "enter",
    "folder_of",
    "read_content",
    "read_env",
    "read_project",
]
