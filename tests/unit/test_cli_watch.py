"""The watcher: which changed files it notices, and how it summarises them."""

import queue
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

from millstream.cli.project import Project
from millstream.cli.watch import Watch, describe_changes, needs_restart


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / ".hidden" / "app"  # hidden folders above the project don't matter
    library = tmp_path / "lib"
    folder.mkdir(parents=True)
    library.mkdir()
    return Project(folder / "langgraph.json", (folder, library), folder / ".env")


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("chat.py", True),
        ("deep/er/chat.py", True),
        ("../../lib/tool.py", True),
        ("langgraph.json", True),
        (".env", True),
        ("deep/langgraph.json", False),
        ("notes.md", False),
        (".venv/x.py", False),
        (".millstream/x.py", False),
        ("node_modules/a/x.py", False),
        ("deep/__pycache__/x.py", False),
        ("../elsewhere.py", False),
    ],
)
def test_only_source_and_config_files_are_watched(
    project: Project, path: str, counts: bool
) -> None:
    absolute = (project.folder.resolve() / path).resolve()
    assert needs_restart(project, str(absolute)) is counts


def test_changes_are_summarised(project: Project) -> None:
    paths = {str(project.folder / name) for name in ("b.py", "a/c.py")}
    assert describe_changes(project, paths) == "a/c.py, b.py"
    paths |= {str(project.folder / name) for name in ("d.py", "e.py", "f.py")}
    assert describe_changes(project, paths) == "a/c.py, b.py, d.py and 2 more"


def test_a_saved_file_is_noticed(project: Project) -> None:
    changes = queue.SimpleQueue[AbstractSet[str]]()
    failures: list[str] = []
    watch = Watch(project, changes.put, failures.append)
    watch.start()
    try:
        seen = save_until_noticed(project.folder / "chat.py", changes)
    finally:
        watch.stop()
    assert seen == {str(project.folder / "chat.py")}
    assert failures == []


def save_until_noticed(
    path: Path, changes: queue.SimpleQueue[AbstractSet[str]]
) -> AbstractSet[str]:
    """Saves until the watcher notices: it may start after the first save, and does not report its start."""
    for attempt in range(20):
        path.write_text(f"# {attempt}\n")
        try:
            return changes.get(timeout=1)
        except queue.Empty:
            continue
    raise AssertionError("nothing was noticed")
