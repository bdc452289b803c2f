"""The folders from which a project's code is imported, and the names that exist in several of them."""

import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from itertools import islice
from pathlib import Path
from typing import Final

DEPTH: Final = 3  # levels below a folder that are searched for a Python file, which makes it a namespace package
_INSTALLED: Final = {"site-packages", "dist-packages"}
MAX_SCANNED: Final = 2000  # entries of a folder, which may hold data
IGNORED: Final = {"node_modules", "__pycache__", "site-packages"}


def root_folders(folder: Path, dependencies: list[str]) -> list[Path]:
    """Returns the folders in which imports are searched, in order.

    The first is the folder of langgraph.json, then for each local dependency its `src` and the dependency itself.
    A dependency that is not a folder (a package's name, a requirements file, a missing folder) adds nothing.
    """
    roots = [folder]
    for dependency in dependencies:
        path = Path(os.path.normpath(folder / dependency))
        roots += [root for root in (path / "src", path) if root.is_dir()]
    return list({os.path.realpath(root): root for root in reversed(roots)}.values())[::-1]


def library_paths(roots: list[Path], *, within: Path | None = None) -> list[str]:
    """Returns the import path without the roots, and without other entries `within` a folder."""
    excluded = {os.path.realpath(root) for root in roots}
    return [
        entry
        for entry in sys.path
        if os.path.realpath(entry or os.curdir) not in excluded
        and (
            within is None
            or not Path(entry).is_relative_to(within)
            or _INSTALLED & {*Path(entry).parts}
        )
    ]


def is_library(spec: ModuleSpec | None) -> bool:
    """Returns whether the spec is of an installed module; it may be a package without an `__init__.py`."""
    if spec is None or spec.loader is not None:
        return spec is not None
    return any(_INSTALLED & {*Path(path).parts} for path in spec.submodule_search_locations or ())


def list_importable(folder: Path) -> dict[str, Path]:
    """Returns the modules in a folder by name: its Python files and its packages."""
    modules: dict[str, Path] = {}
    try:
        listed = sorted(folder.iterdir())
    except OSError:
        return modules
    for entry in listed:
        if entry.suffix == ".py" and entry.stem.isidentifier():
            modules.setdefault(entry.stem, entry)
        # Python's rule: a package hides a file of the same name, which hides a folder without `__init__.py`.
        elif _may_be_package(entry) and (
            is_package(entry) or not entry.with_suffix(".py").is_file()
        ):
            modules[entry.name] = entry
    return modules


def is_package(folder: Path) -> bool:
    """Returns whether the folder is a regular package, not a part of a namespace package."""
    return (folder / "__init__.py").is_file()


def find_shared_names(roots: list[Path]) -> dict[str, list[Path]]:
    """Returns the names of different modules in several roots, each with their paths.

    Packages without an `__init__.py` are one package for Python, so they count only if a name within them is shared.
    A name that a library has belongs to the library in every root.
    """
    outside = library_paths(roots)
    shared = {}
    for name, paths in _by_name(list_importable(root) for root in roots).items():
        if name in sys.stdlib_module_names or not _differ(paths):
            continue
        if not is_library(PathFinder.find_spec(name, outside)):
            shared[name] = paths
    return shared


def _differ(paths: list[Path]) -> bool:
    if len({os.path.realpath(path) for path in paths}) < 2:
        return False
    if any(path.is_file() or is_package(path) for path in paths):
        return True
    return any(map(_differ, _by_name(list_importable(path) for path in paths).values()))


def _by_name(listings: Iterator[dict[str, Path]]) -> dict[str, list[Path]]:
    paths: dict[str, list[Path]] = {}
    for listing in listings:
        for name, path in listing.items():
            paths.setdefault(name, []).append(path)
    return paths


def _may_be_package(folder: Path) -> bool:
    return folder.name.isidentifier() and folder.name not in IGNORED and _has_python(folder)


def _has_python(folder: Path, depth: int = DEPTH) -> bool:
    try:
        if not folder.is_dir():
            return False
        listed = list(islice(os.scandir(folder), MAX_SCANNED))
    except OSError:
        return False
    if any(entry.name.endswith(".py") for entry in listed):
        return True
    return depth > 1 and any(
        _has_python(Path(entry.path), depth - 1)
        for entry in listed
        if entry.name.isidentifier() and entry.name not in IGNORED
    )
