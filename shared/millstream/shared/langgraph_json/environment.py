"""What a langgraph.json does to a process that executes the project's code: its environment, and its imports."""

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from dotenv import dotenv_values

from millstream.shared.errors import SettingError
from millstream.shared.importing import open_project
from millstream.shared.langgraph_json.reader import ProjectFile

ENTERED: Final = "MILLSTREAM_ENTERED"  # tells the children of this process which project it is


def enter(project: ProjectFile) -> list[str]:
    """Prepares this process for the project's code: its environment, and where its modules are found.

    Returns what is to be noted of its environment, a sentence each. Raises SettingError that says what is wrong
    and where.
    """
    notes = _apply_env(project)
    open_project(project.folder, project.dependencies, project.named_files)
    os.environ[ENTERED] = os.path.abspath(project.path)
    return notes


def read_env(project: ProjectFile, environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Returns the variables that `env` of langgraph.json sets, and what is to be noted, a sentence each.

    `environ` is the environment of the process, whose values win. Raises SettingError for a file that can't be read.
    """
    env = project.config.env
    if isinstance(env, list):  # names, as LangGraph Studio writes them: no values
        missing = [str(name) for name in env if str(name) not in environ]
        return {}, [f"env: not set: {', '.join(missing)}."] if missing else []
    values: dict[str, Any] = env if isinstance(env, dict) else {}
    file = project.env_file
    if file is not None:
        if not file.is_file():
            return {}, [
                f"env: there is no file {env} in {project.folder}: only the process's environment counts."
            ]
        try:
            values = dict(dotenv_values(file))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"env: {file} can't be read: {error}.") from None
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }, []


def _apply_env(project: ProjectFile) -> list[str]:
    """Sets what the process's environment does not set itself; returns what is to be noted."""
    variables, notes = read_env(project, os.environ)
    for name, text in variables.items():
        try:
            os.environ.setdefault(name, text)
        except (ValueError, OSError) as error:
            raise SettingError(f"{project.path}: env: {name!r} can't be set: {error}.") from None
    return notes
