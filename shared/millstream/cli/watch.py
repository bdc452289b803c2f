"""Watches a project's files and reports changes."""

import importlib.util
import os
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from millstream.cli.project import Project

_IGNORED: Final = {"node_modules", "__pycache__", "site-packages"}


def can_watch() -> bool:
    """Returns whether the package that watches files is installed."""
    return importlib.util.find_spec("watchfiles") is not None


def needs_restart(project: Project, path: str) -> bool:
    """Returns whether a change of `path` requires new workers.

    That is so for langgraph.json, its env file and Python files, but not for Python files in hidden folders
    and in folders of installed packages.
    """
    if os.path.realpath(path) in _config_files(project):
        return True
    if not path.endswith(".py"):
        return False
    for folder in project.folders:
        if Path(path).is_relative_to(folder):
            parents = Path(path).relative_to(folder).parts[:-1]
            return not any(name in _IGNORED or name.startswith(".") for name in parents)
    return False


def describe_changes(project: Project, paths: AbstractSet[str]) -> str:
    """Returns a short text that names the changed files."""
    names = sorted(os.path.relpath(path, project.folder) for path in paths)
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


class Watch:
    """A thread that calls `changed` with the paths of changed files, and `failed` if it can't watch."""

    def __init__(
        self,
        project: Project,
        changed: Callable[[AbstractSet[str]], None],
        failed: Callable[[str], None],
    ) -> None:
        """The thread calls both functions."""
        self._project = project
        self._changed = changed
        self._failed = failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stops the thread."""
        self._stop.set()
        self._thread.join(1)

    def _run(self) -> None:
        import watchfiles  # optional: `millstream dev --no-reload` works without it

        try:
            for changes in watchfiles.watch(
                *self._project.folders,
                watch_filter=lambda _, path: needs_restart(self._project, path),
                debounce=400,
                stop_event=self._stop,
                raise_interrupt=False,
            ):
                self._changed({path for _, path in changes})
        except (OSError, RuntimeError) as error:
            self._failed(str(error))


def _config_files(project: Project) -> set[str]:
    paths = (project.config, project.env_file)
    return {os.path.realpath(path) for path in paths if path is not None}
