"""What the command has to know of a project: its langgraph.json, its folders, its env file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream.cli.errors import CliError
from millstream.shared.errors import SettingError
from millstream.shared.importing.objects import find_named_files
from millstream.shared.importing.roots import root_folders
from millstream.shared.langgraph_json import (
    CONFIG,
    env_file,
    local_dependencies,
    read_content,
    require_graphs,
)


@dataclass(frozen=True, slots=True)
class Project:
    """A langgraph.json that can be read and names at least one graph."""

    config: Path
    folders: tuple[Path, ...]
    """The folder of the file first, then local dependencies that lie outside of it."""
    env_file: Path | None
    has_http: bool = False
    """Whether it says something of the API."""
    prefix: str = ""
    """The path under which the API lies: `/…` without a slash at its end, or nothing."""

    @property
    def folder(self) -> Path:
        """The folder of langgraph.json."""
        return self.config.parent


def read_project(path: Path) -> Project:
    """Reads the langgraph.json at `path`, or in it if it is a folder; raises CliError."""
    path = path.absolute()
    if path.is_dir():
        path = path / CONFIG
    try:
        content = read_content(path)
        require_graphs(path, content)
    except SettingError as error:
        raise CliError(str(error)) from None
    return Project(
        config=path,
        folders=_folders(path.parent, content),
        env_file=env_file(content, path.parent),
        has_http=bool(content.get("http")),
        prefix=_prefix(content.get("http")),
    )


def _prefix(http: Any) -> str:
    given = http.get("mount_prefix") if isinstance(http, dict) else None
    return given.rstrip("/") if isinstance(given, str) else ""


def _folders(folder: Path, content: dict[str, Any]) -> tuple[Path, ...]:
    """Returns where the project's code lies: its folder, then what of it lies elsewhere."""
    files = [Path(os.path.normpath(folder / file)) for file in find_named_files(content)]
    places = [*root_folders(folder, local_dependencies(content)), *(file.parent for file in files)]
    found = [folder]
    for place in map(Path.resolve, places):
        if place.is_dir() and not any(place.is_relative_to(known.resolve()) for known in found):
            found.append(place)
    return tuple(found)
