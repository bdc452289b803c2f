"""The modules of one project: one file, one module, one name in every process.

A file that langgraph.json names is called by its package if that name leads to this very file, and else by its path
(names.py). Its other names, and those of every other file of the project, lead to the same module. See
docs/decisions/0027.
"""

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from millstream.shared.importing.loaders import OwnFolderLoader, SecondName
from millstream.shared.importing.names import RESERVED, escape, reserved_name, reserved_path
from millstream.shared.importing.roots import (
    entries,
    is_library,
    is_package,
    libraries,
    root_folders,
)
from millstream.shared.importing.roots import shared_names as find_shared_names

log = logging.getLogger(__name__)

INIT = "__init__.py"


class ProjectModules(MetaPathFinder):
    """Finds the modules of a project, under each of their names."""

    def __init__(self, folder: Path, dependencies: list[str], files: list[str]) -> None:
        """Takes langgraph.json's folder, its `dependencies`, and the files that it names."""
        self.folder = folder
        self._roots = root_folders(folder, dependencies)
        self._shared = find_shared_names(self._roots)
        self._told: set[str] = set()
        self._tops = {name for place in self._places() for name in entries(place)}
        self._tops |= _above(folder)
        # By real path. What langgraph.json names is known from the start, so that no order matters.
        self._names: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        self._parents = set[Path]()
        self._name_files(files)

    def _places(self) -> list[Path]:
        """The roots, and what the import path has besides within the project: editable installations."""
        within = [Path(entry) for entry in sys.path if Path(entry).is_relative_to(self.folder)]
        return [*self._roots, *(place for place in within if "site-packages" not in place.parts)]

    # ── Names ───────────────────────────────────────────────────────────────────────────────

    def module(self, path: str) -> ModuleType:
        """Returns the module of a file, given as langgraph.json does; raises what its import raises."""
        file = self.file(path)
        real = os.path.realpath(file)
        if real not in self._names:
            self._name_files([path])
        return importlib.import_module(self._names[real])

    def file(self, path: str) -> Path:
        """Returns where a file that langgraph.json names lies."""
        return Path(os.path.normpath(self.folder / path))

    def named_folders(self) -> list[Path]:
        """Returns the folders, below that of langgraph.json, of the files that it names."""
        folders = {file.parent for file in self._files.values()}
        return sorted(f for f in folders if f.is_relative_to(self.folder) and f not in self._roots)

    def owns(self, file: str) -> bool:
        """Tells whether a file is the project's, and no library's."""
        real = os.path.realpath(file)
        if real in self._names:
            return True
        own = _deepest(real, [os.path.realpath(root) for root in self._roots])
        outside = _deepest(real, [os.path.realpath(entry) for entry in libraries(self._roots)])
        return len(own) > 0 and len(own) >= len(outside)

    def find_homonyms(self, name: str) -> list[str]:
        """Returns the places in the project between which a top-level name leaves the choice, if it does."""
        return [os.path.relpath(place, self.folder) for place in self._shared.get(name, ())]

    def _name_files(self, paths: list[str]) -> None:
        spellings: dict[str, list[Path]] = {}
        for path in paths:
            file = self.file(path)
            if file.is_file():
                spellings.setdefault(os.path.realpath(file), []).append(file)
        # Of several spellings the one without links, else the first in order: never the first in the file.
        files = {
            real: min(files, key=lambda file: (str(file) != real, str(file)))
            for real, files in spellings.items()
        }
        self._tops |= {
            top
            for file in files.values()
            for root in self._roots
            if file.is_relative_to(root)
            and (top := file.relative_to(root).parts[0].removesuffix(".py")).isidentifier()
        }
        self._parents |= {above for file in files.values() for above in file.parents}
        for real, file in files.items():
            self._name(real, file)

    def _name(self, real: str, file: Path) -> None:
        """Names a file, and the packages that it lies in."""
        if is_package(file.parent):
            package, plain = self._name_package(file.parent), file.with_suffix("")
            if file.name == INIT:
                name = package
            elif file.stem.isidentifier() and not is_package(plain):
                name = f"{package}.{file.stem}"
            else:
                name = f"{package}.{escape(file.name)}"
        else:
            name = self._reserved_name(file)
        self._names.setdefault(real, name)
        self._files[self._names[real]] = file

    def _name_package(self, folder: Path) -> str:
        """Names a package and those around it; returns its name."""
        real = os.path.realpath(folder / INIT)
        if real not in self._names:
            names = (name for name in self._natural_names(folder) if self._leads_to(name, real))
            self._names[real] = next(names, reserved_name(folder, self.folder))
            if is_package(folder.parent):
                self._name_package(folder.parent)
        return self._names[real]

    def _natural_names(self, folder: Path) -> list[str]:
        """Returns the names that imports could find a package under."""
        names = []
        for root in sorted(self._roots, key=lambda root: -len(root.parts)):
            # A package is imported as what it is, never from within itself.
            if root != folder and folder.is_relative_to(root) and not is_package(root):
                parts = folder.relative_to(root).parts
                if all(map(str.isidentifier, parts)):
                    names.append(".".join(parts))
        return names

    def _leads_to(self, name: str, real: str) -> bool:
        """Tells whether the name of a package is that of the package with this `__init__.py`."""
        top, *rest = name.split(".")
        if top in self._shared or top in sys.stdlib_module_names:
            return False
        if PathFinder.find_spec(top, libraries(self._roots, within=self.folder)) is not None:
            return (
                False  # also of a library that a worker has loaded already, whatever it is made of
            )
        spec = self._find_top(top)
        for place in (spec and spec.submodule_search_locations) or ():
            init = Path(place, *rest, INIT)
            if init.is_file():
                return os.path.realpath(init) == real
        return False

    def _reserved_name(self, file: Path) -> str:
        if file.name == INIT:
            return reserved_name(file.parent, self.folder)
        plain = file.with_suffix("")
        if is_package(plain) or plain in self._parents:  # which has that name
            return f"{reserved_name(file.parent, self.folder)}.{escape(file.name)}"
        return reserved_name(plain, self.folder)

    # ── Finding ─────────────────────────────────────────────────────────────────────────────

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns where a module of the project lies; None for all others."""
        top = fullname.partition(".")[0]
        if top == RESERVED or fullname in self._files:
            return self._find_named(fullname)
        if top not in self._tops:
            return None
        spec = self._find_top(fullname) if path is None else PathFinder.find_spec(fullname, path)
        if (
            spec is None
            or not (spec.origin or "").endswith(".py")
            or not self.owns(str(spec.origin))
        ):
            return spec
        if top in self._shared:
            self._tell(fullname, str(spec.origin))
        return self._as_named(spec, Path(str(spec.origin)))

    def _find_top(self, name: str) -> ModuleSpec | None:
        """Returns what a top-level name stands for: a library's module before the project's."""
        outside = libraries(self._roots)
        finders = [finder for finder in sys.meta_path if finder is not self]
        behind = finders[finders.index(PathFinder) + 1 :] if PathFinder in finders else []
        spec = PathFinder.find_spec(name, outside)
        for finder in behind:  # of libraries that are installed in place
            if spec is None or spec.origin is None:
                spec = finder.find_spec(name, None) or spec
        if spec is not None and spec.origin is not None and not self.owns(spec.origin):
            return spec
        found = PathFinder.find_spec(name, [*outside, *map(str, self._roots)])
        # A library may be a package without `__init__.py`: langgraph is.
        return (
            spec if found is not None and found.loader is not None and is_library(spec) else found
        )

    def _find_named(self, name: str) -> ModuleSpec | None:
        path = reserved_path(name, self.folder)
        locations = None
        if name in self._files:
            file = self._files[name]
            locations = [str(file.parent)] if file.name == INIT else None
        elif path.suffix == ".py" and path.is_file():
            file = path
        elif is_package(path):
            file, locations = path / INIT, [str(path)]
        elif (file := Path(f"{path}.py")).is_file() and path not in self._parents:
            pass
        elif path.is_dir():
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(path)]
            return spec
        else:
            return self._find_in_namespace(name, path)
        found = spec_from_file_location(name, file, submodule_search_locations=locations)
        return found and self._as_named(found, file)

    def _find_in_namespace(self, name: str, path: Path) -> ModuleSpec | None:
        """Returns what another root has in a package without `__init__.py`, of which this is a part."""
        root = self._root_of(path)
        parts = path.relative_to(root).parts if root is not None else ()
        if len(parts) < 2 or parts[0] not in self._shared or is_package(path.parent):
            return None
        natural = ".".join(parts)
        try:
            importlib.import_module(natural)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{natural}.".startswith(f"{error.name}."):
                return None
            raise
        return ModuleSpec(name, SecondName(natural))

    def _as_named(self, spec: ModuleSpec, file: Path) -> ModuleSpec:
        """Returns the spec, or that of the name which the file has already."""
        name = self._names.setdefault(os.path.realpath(file), self._first_name(spec.name, file))
        if name != spec.name:
            return ModuleSpec(spec.name, SecondName(name), origin=spec.origin)
        if self._shared and self._root_of(file) is not None:
            spec.loader = OwnFolderLoader(name, str(file), lambda top: self._own_name(file, top))
        return spec

    def _first_name(self, name: str, file: Path) -> str:
        """Returns the name of a file that is imported for the first time, as `name`."""
        parent, _, child = name.rpartition(".")
        if not name.startswith(RESERVED) and name.partition(".")[0] in self._shared:
            return self._reserved_name(file)
        if parent in sys.modules:  # it may have another name itself
            above = sys.modules[parent].__spec__
            return f"{above.name if above else parent}.{child}"
        return name

    def _own_name(self, file: Path, top: str) -> str | None:
        """Returns the full name of what the file's own folder has under a name that several have."""
        if top not in self._shared:
            return None
        for root in sorted(self._roots, key=lambda root: -len(root.parts)):
            if file.is_relative_to(root):
                for place in self._shared[top]:
                    if place.parent == root:
                        return (
                            self._reserved_name(place)
                            if place.is_file()
                            else reserved_name(place, self.folder)
                        )
        return None

    def _root_of(self, file: Path) -> Path | None:
        within = [root for root in self._roots if file.is_relative_to(root)]
        return max(within, key=lambda root: len(root.parts), default=None)

    def _tell(self, name: str, origin: str) -> None:
        """Says, once for a name, that Python can't know which of several files is meant."""
        top, *rest = name.split(".")
        places = [place.with_suffix("").joinpath(*rest) for place in self._shared[top]]
        places = [p for p in places if is_package(p) or Path(f"{p}.py").is_file()]
        if len(places) > 1 and not self._told & {name, top}:
            self._told.add(name)
            log.warning(
                "%r is imported from outside of the folders that have it (%s), or by its name as text: it stands for "
                "%s. The files in these folders get their own.",
                name, ", ".join(os.path.relpath(place, self.folder) for place in places),
                os.path.relpath(origin, self.folder),
            )  # fmt: skip


_opened: ProjectModules | None = None


def open_project(folder: Path, dependencies: list[str], files: list[str]) -> ProjectModules:
    """Makes a project's modules importable in this process, in place of those of another project."""
    global _opened  # one a process, as the import system of which it is a part
    if _opened is not None:
        if _opened in sys.meta_path:
            sys.meta_path.remove(_opened)
        for name, module in list(sys.modules.items()):
            spec = getattr(module, "__spec__", None)
            if name.startswith(RESERVED) or (spec is not None and spec.name.startswith(RESERVED)):
                del sys.modules[name]
    for root in root_folders(folder, dependencies):
        # Behind the libraries: a project's redis.py is no reason for a worker to lose its own.
        if str(root) not in sys.path:
            sys.path.append(str(root))
    importlib.invalidate_caches()
    _opened = ProjectModules(folder, dependencies, files)
    sys.meta_path.insert(_before_paths(), _opened)
    return _opened


def find_homonyms(module: str) -> list[str]:
    """Returns the places between which the name of a module leaves the choice in the open project."""
    return _opened.find_homonyms(module.partition(".")[0]) if _opened is not None else []


def module_path(module: str) -> str | None:
    """Returns the file that a module named by its path lies in, from the folder of langgraph.json."""
    if _opened is None or module.partition(".")[0] != RESERVED:
        return None
    path = os.path.relpath(reserved_path(module, _opened.folder), _opened.folder)
    return path if path.endswith(".py") else f"{path}.py"


def modules_of(folder: Path) -> ProjectModules:
    """Returns the modules of the project in a folder; opens it if this process has not."""
    if _opened is not None and _opened.folder == folder:
        return _opened
    return open_project(folder, [], [])


def _before_paths() -> int:
    """Returns the place behind the finders of built-in modules, before the one that searches folders."""
    return sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)


def _above(folder: Path) -> set[str]:
    """Returns the top-level names under which entries of the import path above the folder have it."""
    return {
        folder.relative_to(entry).parts[0]
        for entry in map(Path, sys.path)
        if entry != folder and entry.is_absolute() and folder.is_relative_to(entry)
    }


def _deepest(real: str, folders: list[str]) -> str:
    within = [folder for folder in folders if real.startswith(folder.rstrip("/") + "/")]
    return max(within, key=len, default="")
