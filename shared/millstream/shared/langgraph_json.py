"""A project as all processes read it: langgraph.json, its env, its folders.

What others write into the file is read as LangGraph's own tools read it. Source: the LangGraph CLI's configuration.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from dotenv import dotenv_values

from millstream.shared.errors import SettingError
from millstream.shared.importing import open_project
from millstream.shared.importing.objects import find_named_files

log = logging.getLogger(__name__)

Content = TypeVar("Content")

CONFIG: Final = "langgraph.json"
ENTERED: Final = "MILLSTREAM_ENTERED"  # tells the children of this process which project it is
EXAMPLE: Final = """\
{
  "dependencies": ["."],
  "graphs": {"chat": "./chat.py:graph"}
}"""
# Of images alone: how LangGraph's CLI builds them.
FOR_IMAGES: Final = frozenset({
    "$schema", "api_version", "base_image", "dockerfile_lines", "image_distro", "keep_pkg_tools", "node_version",
    "package", "pip_config_file", "pip_installer", "project_root", "python_version", "source",
})  # fmt: skip
READ: Final = frozenset({
    "auth", "checkpointer", "dependencies", "env", "graphs", "http", "store", "webhooks",
})  # fmt: skip
NOT_DONE: Final = {
    "ui": "components of a generative UI are not served",
    "ui_config": "components of a generative UI are not served",
    "encryption": "only LANGGRAPH_AES_KEY encrypts",
    "priority": "runs have no priorities",
}


def folder_of(path: Path) -> Path:
    """Returns the folder that the paths in a langgraph.json start from."""
    return Path(os.path.abspath(path)).parent


def read_content(path: Path) -> dict[str, Any]:
    """Returns langgraph.json as it stands; raises SettingError that says what is wrong and where."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingError(
            f"There is no {path.name} in {folder_of(path)}.\n"
            f"Say where it is with --config PATH, or create one:\n\n{EXAMPLE}"
        ) from None
    except json.JSONDecodeError as error:
        raise SettingError(
            f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is not valid JSON: {error}.") from None
    except RecursionError:
        raise SettingError(f"{path} is not valid JSON: it is nested too deeply.") from None
    except OSError as error:
        raise SettingError(f"{path} can't be read: {error.strerror}.") from None
    if not isinstance(content, dict):
        raise SettingError(f"{path} must hold a JSON object, such as:\n\n{EXAMPLE}")
    return content


def require_graphs(path: Path, content: dict[str, Any]) -> None:
    """Raises SettingError for a langgraph.json that names no graph."""
    graphs = content.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        raise SettingError(f"{path} names no graphs. It needs at least:\n\n{EXAMPLE}")


def read_file(path: Path, content: type[Content]) -> Content:
    """Returns the keys of langgraph.json that a process reads.

    A key that is null is one that is not there. Raises SettingError that says what is wrong and where.
    """
    try:
        return msgspec.convert(_without_nulls(read_content(path)), content)
    except msgspec.ValidationError as error:
        raise SettingError(f"{path} is not a valid langgraph.json: {error}") from None


def _without_nulls(content: dict[str, Any]) -> dict[str, Any]:
    return {
        # In `serde` null says something: that no class is allowed.
        key: _without_nulls(value) if isinstance(value, dict) and key != "serde" else value
        for key, value in content.items()
        if value is not None
    }


def enter(path: Path) -> list[str]:
    """Prepares this process for a project's code: its environment, and where its modules are found.

    Returns what is to be noted of the file, a sentence each. Raises SettingError that says what is wrong and where.
    """
    folder, content = folder_of(path), read_content(path)
    if not isinstance(content.get("dependencies"), list | None):
        raise SettingError(f"{path}: `dependencies` must be a list of packages and folders.")
    notes = [*_apply_env(path, content.get("env"), folder), *_unserved(content)]
    open_project(folder, local_dependencies(content), find_named_files(content))
    os.environ[ENTERED] = os.path.abspath(path)
    return notes


def local_dependencies(content: dict[str, Any]) -> list[str]:
    """Returns the `dependencies` of a langgraph.json; which of them are folders, the folder tells."""
    given = content.get("dependencies")
    return [text for text in given if isinstance(text, str)] if isinstance(given, list) else []


def env_file(content: dict[str, Any], folder: Path) -> Path | None:
    """Returns the env file that a langgraph.json names, whether it is there or not."""
    env = content.get("env")
    return folder / env if isinstance(env, str) and env else None


def _apply_env(path: Path, env: object, folder: Path) -> list[str]:
    """Sets what the process's environment does not set itself; returns what is to be noted."""
    if not env:
        return []
    if isinstance(env, str):
        file = folder / env
        if not file.is_file():
            return [
                f"env: there is no file {env} in {folder}: only the process's environment counts."
            ]
        try:
            values: dict[str, Any] = dict(dotenv_values(file))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"env: {file} can't be read: {error}.") from None
    elif isinstance(env, dict):
        values = env
    elif isinstance(env, list):  # names, as LangGraph Studio writes them: no values
        missing = [str(name) for name in env if str(name) not in os.environ]
        return [f"env: not set: {', '.join(missing)}."] if missing else []
    else:
        raise SettingError(
            f"{path}: `env` must be a file's name, a list of names, or names with their values."
        )
    for name, value in values.items():
        if value is None:
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        try:
            os.environ.setdefault(name, text)
        except (ValueError, OSError) as error:
            raise SettingError(f"{path}: env: {name!r} can't be set: {error}.") from None
    return []


def _unserved(content: dict[str, Any]) -> list[str]:
    """Returns a sentence for each key that has no effect here, unless it speaks of images alone."""
    notes = []
    for key, value in content.items():
        if key in NOT_DONE and value:
            notes.append(f"`{key}` of {CONFIG} has no effect: {NOT_DONE[key]}.")
        elif key not in READ | FOR_IMAGES | NOT_DONE.keys() and not key.startswith("_INTERNAL"):
            notes.append(f"`{key}` of {CONFIG} is not known, and has no effect.")
    return notes
