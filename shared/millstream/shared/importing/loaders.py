"""Loads a project's modules: each file once, and with imports that prefer the file's own folder."""

import builtins
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any


class SecondName(Loader):
    """Loads a module under a second name: it returns the module that the file was loaded as under its first name."""

    def __init__(self, name: str) -> None:
        """`name` is the file's first name."""
        self._name = name
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Returns the module under its first name, and imports it first if necessary."""
        module = importlib.import_module(
            self._name
        )  # waits for another thread that is importing it
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Executes nothing again; restores the spec, which the import system has just replaced."""
        module.__spec__ = self._spec


class OwnFolderLoader(SourceFileLoader):
    """Loads a file whose import statements look in its own folder first.

    Used where several folders have modules of the same name. Source, line numbers and cached bytecode are the file's;
    only the module's `__import__` differs.
    """

    def __init__(self, name: str, path: str, own_name: Callable[[str], str | None]) -> None:
        """`own_name` maps a top-level name to the full name of that module in the file's folder; None without one."""
        super().__init__(name, path)
        self._own_name = own_name

    def exec_module(self, module: ModuleType) -> None:
        """Executes the file."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
        super().exec_module(module)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top, dot, rest = name.partition(".")
        own_top = self._own_name(top) if level == 0 else None
        if own_top is None:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        full = own_top + dot + rest
        if fromlist:
            return builtins.__import__(full, globals, locals, fromlist, 0)
        importlib.import_module(full)
        return sys.modules[own_top]
