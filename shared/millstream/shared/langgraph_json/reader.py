"""The one reader of langgraph.json: an API, a worker and the command refuse and note the same, in the same words.

What others write into the file is read as LangGraph's own tools read it. Source: the LangGraph CLI's configuration.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from millstream.shared.errors import SettingError
from millstream.shared.importing.objects import find_named_files
from millstream.shared.langgraph_json.config import GraphEntry, ProjectConfig
from millstream.shared.rules.queue_names import queue_name_error

CONFIG: Final = "langgraph.json"
EXAMPLE: Final = """\
{
  "dependencies": ["."],
  "graphs": {"chat": "./chat.py:graph"}
}"""
# Keys that only the build of an image reads: LangGraph's CLI.
FOR_IMAGES: Final = frozenset({
    "$schema", "api_version", "base_image", "dockerfile_lines", "image_distro", "keep_pkg_tools", "node_version",
    "package", "pip_config_file", "pip_installer", "project_root", "python_version", "source",
})  # fmt: skip
KNOWN: Final = frozenset(ProjectConfig.__struct_fields__) | FOR_IMAGES
# Keys without an effect, each with why.
NOT_DONE: Final = {
    "ui": "components of a generative UI are not served",
    "ui_config": "components of a generative UI are not served",
    "priority": "runs have no priorities",
    "store.ttl.sweep_interval_minutes": "Redis deletes expired items by itself",
}
# Keys that are refused, each with why: a project that sets one would expect an effect that protects its data.
REFUSED: Final = {
    "encryption": "sets `encryption`, whose handlers this version does not call: the data would be stored as if there "
    "were none. Set LANGGRAPH_AES_KEY, which encrypts all users' data (docs/checkpoints.md), and take the key out.",
}


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A langgraph.json that names at least one graph, and asks for nothing that is refused."""

    path: Path
    content: dict[str, Any]  # as it stands in the file
    config: ProjectConfig

    @property
    def folder(self) -> Path:
        """The folder that the paths in it start from."""
        return folder_of(self.path)

    @property
    def dependencies(self) -> list[str]:
        """Packages and folders; only the disk tells which is which."""
        return [text for text in self.config.dependencies if isinstance(text, str)]

    @property
    def env_file(self) -> Path | None:
        """The file of variables that it names, whether it is there or not."""
        env = self.config.env
        return self.folder / env if isinstance(env, str) and env else None

    @property
    def named_files(self) -> list[str]:
        """The Python files that it names, wherever in it they stand."""
        return find_named_files(self.content)

    @property
    def notes(self) -> list[str]:
        """A sentence for each key that has no effect, unless it is about images alone."""
        notes = [
            f"`{key}` of {CONFIG} has no effect: {reason}."
            for key, reason in NOT_DONE.items()
            if _value_at(self.content, key)
        ]
        auth = self.config.auth
        if auth is not None and auth.cache is not None and not auth.cache.cache_keys:
            notes.append(
                f"`auth.cache` of {CONFIG} has no effect: `cache_keys` names no header that identifies a user."
            )
        return notes + [
            f"`{key}` of {CONFIG} is not known, and has no effect."
            for key in self.content
            if key not in KNOWN | NOT_DONE.keys() and not key.startswith("_INTERNAL")
        ]


def folder_of(path: Path) -> Path:
    """Returns the folder that the paths in a langgraph.json start from."""
    return Path(os.path.abspath(path)).parent


def read_project(path: Path) -> ProjectFile:
    """Reads a langgraph.json; raises SettingError that says what is wrong and where.

    A key that is null counts as missing.
    """
    content = read_content(path)
    known = _without_nulls(content)
    if not isinstance(known.get("graphs"), dict) or not known["graphs"]:
        raise SettingError(f"{path} names no graphs. It needs at least:\n\n{EXAMPLE}")
    if "encryption" in known:
        raise SettingError(f"{path} {REFUSED['encryption']}")
    if not isinstance(known.get("dependencies", []), list):
        raise SettingError(f"{path}: `dependencies` must be a list of packages and folders.")
    if not isinstance(known.get("env", ""), str | list | dict):
        raise SettingError(
            f"{path}: `env` must be a file's name, a list of names, or names with their values."
        )
    try:
        config = msgspec.convert(known, ProjectConfig)
    except msgspec.ValidationError as error:
        raise SettingError(f"{path} is not a valid {CONFIG}: {error}") from None
    _check(path, config)
    return ProjectFile(path, content, config)


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


def _value_at(content: dict[str, Any], key: str) -> object:
    """Returns the value of a dotted key, such as `store.index`; None if it is missing."""
    value: object = content
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _without_nulls(content: dict[str, Any]) -> dict[str, Any]:
    return {
        # In `serde` null says something: that no class is allowed.
        key: _without_nulls(value) if isinstance(value, dict) and key != "serde" else value
        for key, value in content.items()
        if value is not None
    }


def _check(path: Path, config: ProjectConfig) -> None:
    """Raises SettingError for keys that are valid by themselves, and can't be used as they are."""
    http, store, auth = config.http, config.store, config.auth
    for graph_id, entry in config.graphs.items():
        queue = entry.queue if isinstance(entry, GraphEntry) else None
        if queue is not None and (reason := queue_name_error(queue)):
            raise SettingError(f"{path}: graphs.{graph_id}.queue: {reason}.")
    if auth is not None and auth.openapi is not None:
        try:
            auth.openapi.check()
        except SettingError as error:
            raise SettingError(f"{path}: {error}") from None
    try:
        re.compile(http.cors.allow_origin_regex or "")
    except re.error as error:
        raise SettingError(f"{path}: http.cors.allow_origin_regex: {error}") from None
    if store is not None and store.path is not None and (store.index or store.ttl):
        raise SettingError(
            f"{path}: `store.path` names a store of the project's own, so `store.index` and `store.ttl` have no "
            "effect; take them out."
        )
