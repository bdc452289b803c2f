"""Running tests on a copy of the checkout, in a process forked from one that has imported the libraries."""

import importlib
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mutants import lua
from mutants.mutant import Mutant
from mutants.record import PROBE, Recorder, coverage_of
from mutants.targets import ROOT, files

ROOTS: Final = ("tests", "api", "worker", "shared")
IGNORED: Final = (".*", "__pycache__", "node_modules", "build", "dist")
# What takes long to import, and is no part of what is mutated.
LIBRARIES: Final = (
    "coverage",
    "fakeredis",
    "hypothesis",
    "langchain_core.messages",
    "langgraph.graph",
    "langgraph.checkpoint.memory",
    "lupa.lua51",
    "msgspec",
    "pydantic",
    "pytest",
    "redis.asyncio",
    "starlette.applications",
)
PLUGINS: Final = ("_hypothesis_pytestplugin", "pytest_asyncio.plugin", "pytest_timeout")
TEST_SECONDS: Final = 30  # for one test


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a trial."""

    failed: str | None  # the first test that failed, or why none was run
    timed_out: bool
    seconds: Mapping[str, float] = field(default_factory=dict)  # test → how long it took
    failures: Sequence[str] = ()
    # File → line at which a statement starts → tests that reached it.
    lines: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)


def import_libraries() -> None:
    """Imports what the forked processes need, so that none of them has to."""
    for name in (*LIBRARIES, *PLUGINS):
        importlib.import_module(name)


def copy_checkout(tree: Path) -> None:
    """Makes `tree` a copy of the checkout, without what the checkout ignores."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*IGNORED))


def put_probes(tree: Path) -> None:
    """Has each script of a copy write to the server's log where it comes by."""
    for file in files():
        if file.endswith(".lua"):
            path = tree / file
            path.write_text(lua.probed(path.read_text(), PROBE.format(file=file)))


@contextmanager
def mutated(tree: Path, mutant: Mutant) -> Iterator[None]:
    """Has the mutant in the copy within the block."""
    original, file = ROOT / mutant.path, tree / mutant.path
    file.write_text(mutant.apply(original.read_text()))
    try:
        yield
    finally:
        shutil.copy2(original, file)


def run(
    tree: Path, tests: Sequence[str], within: float, *, measured: Sequence[str] | None = None
) -> Report:
    """Runs tests in a copy, in the order given, until the first one fails.

    Args:
        tree: the copy.
        tests: their ids; or test files, which are then run to their end.
        within: seconds; then the process is killed.
        measured: files whose lines are recorded for each test.
    """
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reads)
        try:
            _run(tree, tests, writes, measured)
        finally:
            os._exit(0)
    os.close(writes)
    said = _read(reads, within)
    if said is None:
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if said is None:
        return Report("the time ran out", timed_out=True)
    if not said:
        return Report("the process died", timed_out=False)
    return Report(**json.loads(said))


def _read(pipe: int, within: float) -> bytes | None:
    """Returns what comes until the other end is closed, None if that takes too long."""
    deadline = time.monotonic() + within
    said = b""
    with os.fdopen(pipe, "rb", buffering=0) as file:
        while select.select([file], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = file.read(1 << 16)
            if not piece:
                return said
            said += piece
    return None


def _run(tree: Path, tests: Sequence[str], pipe: int, measured: Sequence[str] | None) -> None:
    import pytest

    os.setpgid(0, 0)
    output = os.open(tree / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    paths = [str(tree / root) for root in ROOTS]
    sys.path[:] = [*paths, *(path for path in sys.path if not _is_checkout(path))]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # of processes that tests start
    if measured is None:
        # A file that is changed twice within a second would be taken for the one that was compiled first.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    recorder = Recorder(tests if measured is None else None)
    # To find the plugins takes as long as a trial.
    options = ["-q", "--tb=short", "--disable-plugin-autoload", f"--timeout={TEST_SECONDS}"]
    options += [option for plugin in PLUGINS for option in ("-p", plugin)]
    options += ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    if measured is None:
        options.append("-x")
    with coverage_of(tree, measured or (), recorder) as lines:
        modules = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        status = pytest.main([*options, *modules], plugins=[recorder])
    report = recorder.report()
    if not report["failed"] and status not in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        report["failed"] = "the tests could not be run"
    with os.fdopen(pipe, "w") as file:
        json.dump({**report, "lines": {**recorder.script_lines, **lines}}, file)


def _is_checkout(path: str) -> bool:
    return path in ("", *(str(ROOT / root) for root in ROOTS), str(ROOT))
