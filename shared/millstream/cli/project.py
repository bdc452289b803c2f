"""What the command reads of a project: its langgraph.json, its folders, its env file."""

import os
from dataclasses import dataclass
from pathlib import Path

from millstream.cli.errors import CliError
from millstream.shared import langgraph_json
from millstream.shared.errors import SettingError
from millstream.shared.importing.roots import root_folders
from millstream.shared.langgraph_json import CONFIG, ProjectFile
from millstream.shared.langgraph_json.http import HttpSettings


@dataclass(frozen=True, slots=True)
class Project:
    """A langgraph.json that can be read and names at least one graph."""

    config: Path
    folders: tuple[Path, ...]
    """The folder of the file, then local dependencies outside of it."""
    env_file: Path | None
    configures_api: bool = False
    """Whether it has an `http` or an `auth` section, which the API reads."""
    has_auth: bool = False
    """Whether it has an `auth` section."""
    prefix: str = ""
    """The path prefix of the API, such as `/agents` without a final slash; '' for none."""

    @property
    def folder(self) -> Path:
        """The folder of langgraph.json."""
        return self.config.parent


def read_project(path: Path) -> Project:
    """Reads the langgraph.json at `path`, or in `path` if that is a folder; raises CliError."""
    path = path.absolute()
    if path.is_dir():
        path = path / CONFIG
    try:
        project = langgraph_json.read_project(path)
    except SettingError as error:
        raise CliError(str(error)) from None
    http = project.config.http
    return Project(
        config=path,
        folders=_folders(project),
        env_file=project.env_file,
        configures_api=http != HttpSettings() or project.config.auth is not None,
        has_auth=project.config.auth is not None,
        prefix=http.prefix,
    )


def _folders(project: ProjectFile) -> tuple[Path, ...]:
    """Returns the folders of the project's code: its own, then those that lie outside of it."""
    folder = project.folder
    files = [Path(os.path.normpath(folder / file)) for file in project.named_files]
    candidates = [*root_folders(folder, project.dependencies), *(file.parent for file in files)]
    folders = [folder]
    for path in map(Path.resolve, candidates):
        if path.is_dir() and not any(path.is_relative_to(known.resolve()) for known in folders):
            folders.append(path)
    return tuple(folders)
