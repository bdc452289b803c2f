"""The modules of a project: each file is one module with one name, the same in every process.

A file that langgraph.json names gets its package's name if imports of that name find this file, and otherwise a name
built from its path (names.py). Imports of any other name of a file return the same module. See docs/decisions/0027.
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
    find_shared_names,
    is_library,
    is_package,
    library_paths,
    list_importable,
    root_folders,
)

log = logging.getLogger(__name__)

INIT = "__init__.py"


class ProjectModules(MetaPathFinder):
    """An import finder for the modules of a project, under any of their names."""

    def __init__(self, folder: Path, dependencies: list[str], files: list[str]) -> None:
        """Takes the folder of langgraph.json, its `dependencies`, and the files that it names."""
        self.folder = folder
        self._roots = root_folders(folder, dependencies)
        self._shared = find_shared_names(self._roots)
        self._warned: set[str] = set()  # names
        self._tops = {name for folder in self._search_path() for name in list_importable(folder)}
        self._tops |= _names_of_parents(folder)
        # By real path. The files of langgraph.json are named at once, so that the order of imports does not matter.
        self._names: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        self._parents = set[Path]()
        self._name_files(files)

    def _search_path(self) -> list[Path]:
        """Returns the roots and the other entries of the import path in the project: editable installations."""
        within = [Path(entry) for entry in sys.path if Path(entry).is_relative_to(self.folder)]
        return [*self._roots, *(path for path in within if "site-packages" not in path.parts)]

    # ── Names ───────────────────────────────────────────────────────────────────────────────

    def module(self, path: str) -> ModuleType:
        """Imports and returns the module of a file, named as in langgraph.json; raises what its import raises."""
        file = self.file(path)
        real = os.path.realpath(file)
        if real not in self._names:
            self._name_files([path])
        return importlib.import_module(self._names[real])

    def file(self, path: str) -> Path:
        """Returns the absolute path of a file that langgraph.json names."""
        return Path(os.path.normpath(self.folder / path))

    def named_folders(self) -> list[Path]:
        """Returns the folders of the files that langgraph.json names, below its own folder and without the roots."""
        folders = {file.parent for file in self._files.values()}
        return sorted(f for f in folders if f.is_relative_to(self.folder) and f not in self._roots)

    def owns(self, file: str) -> bool:
        """Returns whether a file belongs to the project, not to a library."""
        real = os.path.realpath(file)
        if real in self._names:
            return True
        root = _deepest(real, [os.path.realpath(root) for root in self._roots])
        library = _deepest(real, [os.path.realpath(entry) for entry in library_paths(self._roots)])
        return len(root) > 0 and len(root) >= len(library)

    def find_homonyms(self, name: str) -> list[str]:
        """Returns the paths in the project that a top-level name may mean, if there are several; else an empty list."""
        return [os.path.relpath(path, self.folder) for path in self._shared.get(name, ())]

    def _name_files(self, paths: list[str]) -> None:
        spellings: dict[str, list[Path]] = {}
        for path in paths:
            file = self.file(path)
            if file.is_file():
                spellings.setdefault(os.path.realpath(file), []).append(file)
        # Of several spellings the one without links, else the first in sort order, whatever their order in the file.
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
        """Names a file and the packages that contain it."""
        if is_package(file.parent):
            package, stem_path = self._name_package(file.parent), file.with_suffix("")
            if file.name == INIT:
                name = package
            elif file.stem.isidentifier() and not is_package(stem_path):
                name = f"{package}.{file.stem}"
            else:
                name = f"{package}.{escape(file.name)}"
        else:
            name = self._reserved_name(file)
        self._names.setdefault(real, name)
        self._files[self._names[real]] = file

    def _name_package(self, folder: Path) -> str:
        """Names a package and the packages that contain it; returns its name."""
        real = os.path.realpath(folder / INIT)
        if real not in self._names:
            names = (name for name in self._natural_names(folder) if self._leads_to(name, real))
            self._names[real] = next(names, reserved_name(folder, self.folder))
            if is_package(folder.parent):
                self._name_package(folder.parent)
        return self._names[real]

    def _natural_names(self, folder: Path) -> list[str]:
        """Returns the names under which imports may find a package."""
        names = []
        for root in sorted(self._roots, key=lambda root: -len(root.parts)):
            # A package is imported from outside of itself.
            if root != folder and folder.is_relative_to(root) and not is_package(root):
                parts = folder.relative_to(root).parts
                if all(map(str.isidentifier, parts)):
                    names.append(".".join(parts))
        return names

    def _leads_to(self, name: str, real: str) -> bool:
        """Returns whether imports of the name find the package with this `__init__.py`."""
        top, *rest = name.split(".")
        if top in self._shared or top in sys.stdlib_module_names:
            return False
        if PathFinder.find_spec(top, library_paths(self._roots, within=self.folder)) is not None:
            return False  # a library, which may be loaded already
        spec = self._find_top(top)
        for location in (spec and spec.submodule_search_locations) or ():
            init = Path(location, *rest, INIT)
            if init.is_file():
                return os.path.realpath(init) == real
        return False

    def _reserved_name(self, file: Path) -> str:
        if file.name == INIT:
            return reserved_name(file.parent, self.folder)
        stem_path = file.with_suffix("")
        if is_package(stem_path) or stem_path in self._parents:  # a folder has that name
            return f"{reserved_name(file.parent, self.folder)}.{escape(file.name)}"
        return reserved_name(stem_path, self.folder)

    # ── Finding ─────────────────────────────────────────────────────────────────────────────

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the spec of a module of the project; None for any other module."""
        top = fullname.partition(".")[0]
        if top == RESERVED or fullname in self._files:
            return self._find_by_path(fullname)
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
            self._warn(fullname, str(spec.origin))
        return self._with_first_name(spec, Path(str(spec.origin)))

    def _find_top(self, name: str) -> ModuleSpec | None:
        """Returns the spec of a top-level name: a library's module takes precedence over the project's."""
        path = library_paths(self._roots)
        finders = [finder for finder in sys.meta_path if finder is not self]
        behind = finders[finders.index(PathFinder) + 1 :] if PathFinder in finders else []
        spec = PathFinder.find_spec(name, path)
        for finder in behind:  # the finders of editable installations
            if spec is None or spec.origin is None:
                spec = finder.find_spec(name, None) or spec
        if spec is not None and spec.origin is not None and not self.owns(spec.origin):
            return spec
        own_spec = PathFinder.find_spec(name, [*path, *map(str, self._roots)])
        # A library may be a package without `__init__.py`, as langgraph is.
        if own_spec is not None and own_spec.loader is not None and is_library(spec):
            return spec
        return own_spec

    def _find_by_path(self, name: str) -> ModuleSpec | None:
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
        spec_of_file = spec_from_file_location(name, file, submodule_search_locations=locations)
        return spec_of_file and self._with_first_name(spec_of_file, file)

    def _find_in_namespace(self, name: str, path: Path) -> ModuleSpec | None:
        """Returns the spec of a module that another root has in the same package without `__init__.py`."""
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

    def _with_first_name(self, spec: ModuleSpec, file: Path) -> ModuleSpec:
        """Returns the spec, or the spec of the first name if the file has been imported under another name."""
        name = self._names.setdefault(os.path.realpath(file), self._first_name(spec.name, file))
        if name != spec.name:
            return ModuleSpec(spec.name, SecondName(name), origin=spec.origin)
        if self._shared and self._root_of(file) is not None:
            spec.loader = OwnFolderLoader(name, str(file), lambda top: self._own_name(file, top))
        return spec

    def _first_name(self, name: str, file: Path) -> str:
        """Returns the name for a file that is imported for the first time, as `name`."""
        parent, _, child = name.rpartition(".")
        if not name.startswith(RESERVED) and name.partition(".")[0] in self._shared:
            return self._reserved_name(file)
        if parent in sys.modules:  # the parent may have another first name
            above = sys.modules[parent].__spec__
            return f"{above.name if above else parent}.{child}"
        return name

    def _own_name(self, file: Path, top: str) -> str | None:
        """Returns the full name of the file's own module with a shared top-level name; None if it has none."""
        if top not in self._shared:
            return None
        for root in sorted(self._roots, key=lambda root: -len(root.parts)):
            if file.is_relative_to(root):
                for path in self._shared[top]:
                    if path.parent == root:
                        if path.is_file():
                            return self._reserved_name(path)
                        return reserved_name(path, self.folder)
        return None

    def _root_of(self, file: Path) -> Path | None:
        within = [root for root in self._roots if file.is_relative_to(root)]
        return max(within, key=lambda root: len(root.parts), default=None)

    def _warn(self, name: str, origin: str) -> None:
        """Logs, once for each name, that Python can't know which of several files an import means."""
        top, *rest = name.split(".")
        paths = [path.with_suffix("").joinpath(*rest) for path in self._shared[top]]
        paths = [p for p in paths if is_package(p) or Path(f"{p}.py").is_file()]
        if len(paths) > 1 and not self._warned & {name, top}:
            self._warned.add(name)
            log.warning(
                "%r is imported from outside of the folders that have it (%s), or by its name as text: this import "
                "gets %s. The files in these folders get the module of their own folder.",
                name, ", ".join(os.path.relpath(path, self.folder) for path in paths),
                os.path.relpath(origin, self.folder),
            )  # fmt: skip


_opened: ProjectModules | None = None


def open_project(folder: Path, dependencies: list[str], files: list[str]) -> ProjectModules:
    """Makes a project's modules importable in this process. It replaces the modules of an earlier project."""
    global _opened  # one in a process, like the import system
    if _opened is not None:
        if _opened in sys.meta_path:
            sys.meta_path.remove(_opened)
        for name, module in list(sys.modules.items()):
            spec = getattr(module, "__spec__", None)
            if name.startswith(RESERVED) or (spec is not None and spec.name.startswith(RESERVED)):
                del sys.modules[name]
    for root in root_folders(folder, dependencies):
        # After the libraries, so that a project's redis.py does not hide the worker's redis package.
        if str(root) not in sys.path:
            sys.path.append(str(root))
    importlib.invalidate_caches()
    _opened = ProjectModules(folder, dependencies, files)
    sys.meta_path.insert(_before_paths(), _opened)
    return _opened


def find_homonyms(module: str) -> list[str]:
    """Returns the paths in the open project that the name of a module may mean, if there are several."""
    return _opened.find_homonyms(module.partition(".")[0]) if _opened is not None else []


def module_path(module: str) -> str | None:
    """Returns the file of a module that is named by its path, relative to the folder of langgraph.json; else None."""
    if _opened is None or module.partition(".")[0] != RESERVED:
        return None
    path = os.path.relpath(reserved_path(module, _opened.folder), _opened.folder)
    return path if path.endswith(".py") else f"{path}.py"


def modules_of(folder: Path) -> ProjectModules:
    """Returns the modules of the project in a folder; opens the project if necessary."""
    if _opened is not None and _opened.folder == folder:
        return _opened
    return open_project(folder, [], [])


def _before_paths() -> int:
    """Returns the index in `sys.meta_path` before the finder that searches folders."""
    return sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)


def _names_of_parents(folder: Path) -> set[str]:
    """Returns the top-level names of the folder in the entries of the import path that contain it."""
    return {
        folder.relative_to(entry).parts[0]
        for entry in map(Path, sys.path)
        if entry != folder and entry.is_absolute() and folder.is_relative_to(entry)
    }


def _deepest(real: str, folders: list[str]) -> str:
    within = [folder for folder in folders if real.startswith(folder.rstrip("/") + "/")]
    return max(within, key=len, default="")
