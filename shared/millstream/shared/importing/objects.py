"""Objects in a project's modules, as langgraph.json names them: `./path/file.py:name`, `package.module:name`."""

import difflib
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from millstream.shared.errors import SettingError
from millstream.shared.importing.project import ProjectModules, modules_of
from millstream.shared.importing.roots import entries

MAX_LISTED: Final = 12  # names that a sentence lists


def load_object(spec: str, folder: Path, what: str) -> Any:
    """Returns what `path/to/file.py:name` or `package.module:name` stands for.

    Args:
        spec: as langgraph.json has it.
        folder: that of langgraph.json.
        what: the line of langgraph.json that names it, for errors.

    Raises:
        SettingError: there is no such thing, or its module can't be imported; it names `what`, and where.
    """
    where, colon, name = spec.rpartition(":")
    if not (colon and where and name):
        raise SettingError(f"{what}: {spec!r} is not of the form './file.py:variable'.")
    modules = modules_of(folder)
    if not is_file(where):
        _refuse_homonyms(where, modules, what)
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
        raise SettingError(f"{what}: {where} has no {name!r}.{_offered(module, name)}") from None


def is_file(where: str) -> bool:
    """Tells whether the part before the colon names a file, and not a module."""
    return where.endswith(".py") or "/" in where


def find_named_files(content: Any) -> list[str]:
    """Returns all files that a langgraph.json names in front of a colon, wherever in it they stand."""
    if isinstance(content, str):
        where = content.rpartition(":")[0]
        return [where] if where.endswith(".py") else []
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [file for value in content for file in find_named_files(value)]
    return []


def _refuse_homonyms(where: str, modules: ProjectModules, what: str) -> None:
    places = modules.find_homonyms(where.partition(".")[0])
    if places:
        raise SettingError(
            f"{what}: {where} may be one of several: {', '.join(places)}. Name the file instead: './file.py:variable'."
        )


def _last_line(error: BaseException, modules: ProjectModules) -> str:
    """Returns ' (file.py, line N)': the deepest line of the project's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    found = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if modules.owns(file):
            found = f" ({os.path.relpath(file, modules.folder)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found


def _remedy(error: BaseException, modules: ProjectModules) -> str:
    """Returns what to do about a module that is not found."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    folder, (top, dot, _) = modules.folder, error.name.partition(".")
    for place in modules.named_folders():
        if top in entries(place):
            own = os.path.relpath(place, folder)
            return f'. It lies in {own}: add "./{own}" to `dependencies` of langgraph.json'
    if dot and top in sys.modules:
        return f". {top} is installed, in a version without it"
    if (folder / "pyproject.toml").is_file() or (folder / "setup.py").is_file():
        return f". Is the project installed? pip install -e {folder}"
    if (folder / "requirements.txt").is_file():
        return f". Is it installed? pip install -r {folder / 'requirements.txt'}"
    return ". Is it installed where the worker runs?"


def _offered(module: ModuleType, wanted: str) -> str:
    """Returns what the module has instead: its own public names, the most likely first."""
    names = [name for name, value in vars(module).items() if _is_own(name, value, module)]
    if not names:
        return " It has no names of its own."
    close = difflib.get_close_matches(wanted, names, n=3)
    names = close + [name for name in names if name not in close]
    rest = f", and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f" It has: {', '.join(names[:MAX_LISTED])}{rest}."


def _is_own(name: str, value: object, module: ModuleType) -> bool:
    """Tells whether a module defines a name for others, and has not just imported it."""
    if name.startswith("_") or isinstance(value, ModuleType):
        return False
    return not callable(value) or getattr(value, "__module__", None) == module.__name__
