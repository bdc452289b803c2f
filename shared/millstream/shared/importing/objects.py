"""Loads objects that langgraph.json names: `./path/file.py:name` and `package.module:name`."""

import difflib
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from millstream.shared.errors import SettingError
from millstream.shared.importing.project import ProjectModules, modules_of
from millstream.shared.importing.roots import list_importable

MAX_LISTED: Final = 12  # names in one message


def load_object(spec: str, folder: Path, what: str) -> Any:
    """Returns the object that `path/to/file.py:name` or `package.module:name` names.

    Args:
        spec: the text in langgraph.json.
        folder: of langgraph.json.
        what: the entry of langgraph.json that has the text, for errors.

    Raises:
        SettingError: the object does not exist, or its module can't be imported. The message names `what` and the line.
    """
    where, colon, name = spec.rpartition(":")
    if not (colon and where and name):
        raise SettingError(f"{what}: {spec!r} is not of the form './file.py:variable'.")
    modules = modules_of(folder)
    if not is_file(where):
        _require_unambiguous(where, modules, what)
    elif not modules.file(where).is_file():
        hint = f" Is it {where}.py?" if modules.file(f"{where}.py").is_file() else ""
        raise SettingError(f"{what}: there is no file {where} in {folder}.{hint}")
    elif not where.endswith(".py"):
        raise SettingError(f"{what}: {where} is not a Python file.")
    try:
        module = modules.module(where) if is_file(where) else importlib.import_module(where)
    except BaseException as error:
        raise SettingError(
            f"{what}: {where} can't be imported: {type(error).__name__}: {error}"
            f"{_last_line(error, modules)}{_remedy(error, modules)}"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise SettingError(
            f"{what}: {where} has no {name!r}.{_suggestions(module, name)}"
        ) from None


def is_file(where: str) -> bool:
    """Returns whether the part before the colon names a file, not a module."""
    return where.endswith(".py") or "/" in where


def find_named_files(content: Any) -> list[str]:
    """Returns all files that a langgraph.json names before a colon, in any of its entries."""
    if isinstance(content, str):
        where = content.rpartition(":")[0]
        return [where] if where.endswith(".py") else []
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [file for value in content for file in find_named_files(value)]
    return []


def _require_unambiguous(where: str, modules: ProjectModules, what: str) -> None:
    candidates = modules.find_homonyms(where.partition(".")[0])
    if candidates:
        raise SettingError(
            f"{what}: {where} may be one of several: {', '.join(candidates)}. "
            "Name the file instead: './file.py:variable'."
        )


def _last_line(error: BaseException, modules: ProjectModules) -> str:
    """Returns ' (file.py, line N)' for the innermost line of the project's code in the traceback; '' without one."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    location = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if modules.owns(file):
            location = f" ({os.path.relpath(file, modules.folder)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return location


def _remedy(error: BaseException, modules: ProjectModules) -> str:
    """Returns a hint for a module that Python did not find; '' for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    folder, (top, dot, _) = modules.folder, error.name.partition(".")
    for named_folder in modules.named_folders():
        if top in list_importable(named_folder):
            path = os.path.relpath(named_folder, folder)
            return f'. It lies in {path}: add "./{path}" to `dependencies` of langgraph.json'
    if dot and top in sys.modules:
        return f". {top} is installed, in a version without it"
    if (folder / "pyproject.toml").is_file() or (folder / "setup.py").is_file():
        return f". Is the project installed? pip install -e {folder}"
    if (folder / "requirements.txt").is_file():
        return f". Is it installed? pip install -r {folder / 'requirements.txt'}"
    return ". Is it installed in this environment?"


def _suggestions(module: ModuleType, missing: str) -> str:
    """Returns a hint with the public names that the module defines, the most similar first."""
    names = [name for name, value in vars(module).items() if _is_defined_in(name, value, module)]
    if not names:
        return " It has no names of its own."
    close = difflib.get_close_matches(missing, names, n=3)
    names = close + [name for name in names if name not in close]
    rest = f", and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f" It has: {', '.join(names[:MAX_LISTED])}{rest}."


def _is_defined_in(name: str, value: object, module: ModuleType) -> bool:
    """Returns whether the module defines the public name, and does not only import it."""
    if name.startswith("_") or isinstance(value, ModuleType):
        return False
    return not callable(value) or getattr(value, "__module__", None) == module.__name__
