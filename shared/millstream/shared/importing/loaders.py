"""How a project's modules are loaded: once, and with imports that mean their own folder."""

import builtins
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any


class SecondName(Loader):
    """Gives the module that a file has been loaded as, under another name for the same file."""

    def __init__(self, name: str) -> None:
        """`name` is the name that the file is loaded under."""
        self._name = name
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Returns the module under its own name; loads it if that was not done yet."""
        module = importlib.import_module(self._name)  # waits for a thread that is loading it
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Runs nothing again; the import system has just replaced the module's spec."""
        module.__spec__ = self._spec


class OwnFolderLoader(SourceFileLoader):
    """Loads a file whose import statements mean its own folder first.

    Used where several folders have modules of the same name. Source, line numbers and cached bytecode are the file's:
    only the module's `__import__` is another.
    """

    def __init__(self, name: str, path: str, own_name: Callable[[str], str | None]) -> None:
        """Takes what returns the full name of a module that the file's folder has, for its top-level name."""
        super().__init__(name, path)
        self._own_name = own_name

    def exec_module(self, module: ModuleType) -> None:
        """Runs the file."""
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
        own = self._own_name(top) if level == 0 else None
        if own is None:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        full = own + dot + rest
        if fromlist:
            return builtins.__import__(full, globals, locals, fromlist, 0)
        importlib.import_module(full)
        return sys.modules[own]
