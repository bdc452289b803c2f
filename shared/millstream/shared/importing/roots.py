"""The folders from which a project's code is imported, and the names that several of them have."""

import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from itertools import islice
from pathlib import Path
from typing import Final

DEPTH: Final = 3  # levels below a folder at which a Python file makes it a namespace package
_INSTALLED: Final = {"site-packages", "dist-packages"}
MAX_LISTED: Final = 2000  # entries of a folder that are looked at: it may hold data
OTHERS: Final = {"node_modules", "__pycache__", "site-packages"}


def root_folders(folder: Path, dependencies: list[str]) -> list[Path]:
    """Returns the folders that imports are looked up in, in their order.

    First the folder of langgraph.json, then each local dependency's `src` and the dependency. What is no folder
    (a package's name, a requirements file, a folder that is not there) adds nothing.
    """
    found = [folder]
    for dependency in dependencies:
        place = Path(os.path.normpath(folder / dependency))
        found += [root for root in (place / "src", place) if root.is_dir()]
    return list({os.path.realpath(root): root for root in reversed(found)}.values())[::-1]


def libraries(roots: list[Path], *, within: Path | None = None) -> list[str]:
    """Returns what the import path has beside the roots, and beside what else of it lies `within` a folder."""
    own = {os.path.realpath(root) for root in roots}
    return [
        entry
        for entry in sys.path
        if os.path.realpath(entry or os.curdir) not in own
        and (
            within is None
            or not Path(entry).is_relative_to(within)
            or _INSTALLED & {*Path(entry).parts}
        )
    ]


def is_library(spec: ModuleSpec | None) -> bool:
    """Tells whether a spec is that of something installed, be it a package without an `__init__.py`."""
    if spec is None or spec.loader is not None:
        return spec is not None
    return any(_INSTALLED & {*Path(place).parts} for place in spec.submodule_search_locations or ())


def entries(folder: Path) -> dict[str, Path]:
    """Returns what can be imported from a folder: its Python files and its packages, by name."""
    found: dict[str, Path] = {}
    try:
        listed = sorted(folder.iterdir())
    except OSError:
        return found
    for entry in listed:
        if entry.suffix == ".py" and entry.stem.isidentifier():
            found.setdefault(entry.stem, entry)
        # As Python decides: a package hides a file of its name, which hides a mere folder.
        elif _imports(entry) and (is_package(entry) or not entry.with_suffix(".py").is_file()):
            found[entry.name] = entry
    return found


def is_package(folder: Path) -> bool:
    """Tells whether a folder is a package, and no mere part of a namespace."""
    return (folder / "__init__.py").is_file()


def shared_names(roots: list[Path]) -> dict[str, list[Path]]:
    """Returns the names that stand for different things in several roots, with these things.

    Packages without an `__init__.py` are one package to Python; they count if a name within them does. A name that a
    library has is the library's, in every root.
    """
    outside = libraries(roots)
    found = {}
    for name, places in _by_name(entries(root) for root in roots).items():
        if name in sys.stdlib_module_names or not _differ(places):
            continue
        if not is_library(PathFinder.find_spec(name, outside)):
            found[name] = places
    return found


def _differ(places: list[Path]) -> bool:
    if len({os.path.realpath(place) for place in places}) < 2:
        return False
    if any(place.is_file() or is_package(place) for place in places):
        return True
    return any(map(_differ, _by_name(entries(place) for place in places).values()))


def _by_name(listings: Iterator[dict[str, Path]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for listing in listings:
        for name, place in listing.items():
            found.setdefault(name, []).append(place)
    return found


def _imports(folder: Path) -> bool:
    return folder.name.isidentifier() and folder.name not in OTHERS and _has_python(folder)


def _has_python(folder: Path, depth: int = DEPTH) -> bool:
    try:
        if not folder.is_dir():
            return False
        listed = list(islice(os.scandir(folder), MAX_LISTED))
    except OSError:
        return False
    if any(entry.name.endswith(".py") for entry in listed):
        return True
    return depth > 1 and any(
        _has_python(Path(entry.path), depth - 1)
        for entry in listed
        if entry.name.isidentifier() and entry.name not in OTHERS
    )
