"""What the command has to know of a project: its langgraph.json, its folders, its env file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from millstream.cli.refusal import Refusal

CONFIG: Final = "langgraph.json"
EXAMPLE: Final = """\
{
  "dependencies": ["."],
  "graphs": {"chat": "./chat.py:graph"}
}"""


@dataclass(frozen=True, slots=True)
class Project:
    """A langgraph.json that can be read and names at least one graph."""

    config: Path
    folders: tuple[Path, ...]
    """The folder of the file first, then local dependencies that lie outside of it."""
    env_file: Path | None
    has_http: bool = False
    """Whether it says something of the API."""

    @property
    def folder(self) -> Path:
        """The folder of langgraph.json."""
        return self.config.parent


def read_project(path: Path) -> Project:
    """Reads the langgraph.json at `path`, or in it if it is a folder; raises Refusal."""
    path = path.absolute()
    if path.is_dir():
        path = path / CONFIG
    content = _read(path)
    graphs = content.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        raise Refusal(f"{path} names no graphs. It needs at least:\n\n{EXAMPLE}")
    env = content.get("env")
    return Project(
        config=path,
        folders=_folders(path.parent, content.get("dependencies")),
        env_file=path.parent / env if isinstance(env, str) else None,
        has_http=bool(content.get("http")),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise Refusal(
            f"No {path.name} in {path.parent}.\n"
            f"Say where it is with --config PATH, or create one:\n\n{EXAMPLE}"
        ) from None
    except json.JSONDecodeError as error:
        raise Refusal(
            f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path} can't be read: {error}.") from None
    if not isinstance(content, dict):
        raise Refusal(f"{path} must hold a JSON object, such as:\n\n{EXAMPLE}")
    return content


def _folders(folder: Path, dependencies: object) -> tuple[Path, ...]:
    found = [folder]
    for entry in dependencies if isinstance(dependencies, list) else []:
        if not isinstance(entry, str) or not entry.startswith((".", "/")):
            continue  # a package by its name
        path = (folder / entry).resolve()
        if path.is_dir() and not any(path.is_relative_to(known.resolve()) for known in found):
            found.append(path)
    return tuple(found)
