"""A project as both sides read it: langgraph.json, its env, its folders, objects in the user's modules."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec
from dotenv import dotenv_values

from millstream.shared.errors import SettingError

Content = TypeVar("Content")


def read_file(path: Path, content: type[Content]) -> Content:
    """Returns the keys of langgraph.json that a process reads.

    Raises SettingError that says what is wrong and where.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SettingError(
            f"There is no {path.name} in {path.parent}. Name it with --config, or create one: "
            '{"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}'
        ) from None
    except OSError as error:
        raise SettingError(f"{path} can't be read: {error.strerror}") from None
    try:
        return msgspec.json.decode(data, type=content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not a valid langgraph.json: {error}") from None


def load_object(spec: str, folder: Path, what: str) -> Any:
    """Returns what `path/to/file.py:name` or `package.module:name` stands for.

    Raises SettingError that names `what`.
    """
    where, colon, name = spec.rpartition(":")
    if not (colon and where and name):
        raise SettingError(f"{what}: {spec!r} is not of the form './file.py:variable'.")
    try:
        module = _import(where, folder, what)
    except SettingError:
        raise
    except BaseException as error:
        line = _last_line(error, folder)
        raise SettingError(
            f"{what}: {where} can't be imported: {type(error).__name__}: {error}{line}"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise SettingError(f"{what}: {where} has no {name!r}.") from None


def _import(where: str, folder: Path, what: str) -> ModuleType:
    if not (where.endswith(".py") or "/" in where):
        return importlib.import_module(where)
    file = (folder / where).resolve()
    if not file.is_file():
        raise SettingError(f"{what}: there is no file {where} in {folder}.")
    # Under the name that its own folder would import it by, so that it exists once, and what it
    # defines can be found again when a checkpoint is read.
    for root in map(Path, sys.path):
        if file.parent == root.resolve() and file.stem.isidentifier():
            return importlib.import_module(file.stem)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise SettingError(f"{what}: {where} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def apply_env(env: str | dict[str, str], folder: Path) -> None:
    """Sets what the process's environment does not set itself."""
    if isinstance(env, str):
        file = folder / env
        if not file.is_file():
            raise SettingError(f"env: there is no file {env} in {folder}.")
        values: dict[str, str | None] = dotenv_values(file)
    else:
        values = dict(env)
    for name, value in values.items():
        if value is not None:
            os.environ.setdefault(name, value)


def apply_dependencies(dependencies: list[str], folder: Path) -> None:
    """Puts local folders on the import path; packages are the environment's business."""
    for dependency in dependencies:
        if not dependency.startswith("."):
            continue
        place = (folder / dependency).resolve()
        if not place.is_dir():
            raise SettingError(f"dependencies: there is no folder {dependency} in {folder}.")
        for root in (place / "src", place):
            if root.is_dir() and str(root) not in sys.path:
                sys.path.insert(0, str(root))


def _last_line(error: BaseException, folder: Path) -> str:
    """Returns ' (file.py, line N)': the deepest line of the user's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    found = ""
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(folder) and ".venv" not in file.parts:
            found = f" ({file.relative_to(folder)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found
