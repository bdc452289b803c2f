"""`make mutants`: runs the tests for each mutant, and fails if one survives that is not explained."""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from mutants import explained, reach, targets, trial
from mutants.explained import Name
from mutants.mutant import Mutant
from mutants.reach import Reach

BUILD: Final = targets.ROOT / "build" / "mutants"
RESULTS: Final = "results.json"
FILE_SECONDS: Final = 600.0  # for the tests of one file, while they are measured
START_SECONDS: Final = 30.0  # for a trial, beside five times what its tests took
SLOW: Final = 2.0  # s; a test that takes as long is tried late
KILLERS: Final = 30  # tests that are remembered as having killed a mutant of a file

Status = Literal["killed", "timeout", "survived", "unreached"]
Item = TypeVar("Item")
Done = TypeVar("Done")
SURVIVED: Final = ("survived", "unreached")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant."""

    mutant: Mutant
    status: Status
    seconds: float
    by: str = ""  # the test that failed

    def __str__(self) -> str:
        """One row of the table."""
        by = f"  by {self.by}" if self.by else ""
        return f"{self.status:<9} {self.seconds:5.1f} s  {self.mutant}{by}"


class Job:
    """What one process of the pool works with: a copy of the checkout, and what it has learned."""

    def __init__(self, known: Reach, trees: Path, is_quick: bool) -> None:
        self.tree = trees / str(os.getpid())
        self._known = known
        self._is_quick = is_quick
        self._probed = False
        self._killers: dict[str, list[str]] = {}
        trial.copy_checkout(self.tree)

    def measure(self, file: str) -> trial.Report:
        """Runs the tests of a file without a mutant, and records what they reach."""
        modules = [file for file in targets.files() if file.endswith(".py")]
        if not self._probed:
            trial.put_probes(self.tree)
            self._probed = True
        return trial.run(self.tree, [file], FILE_SECONDS, measured=modules)

    def attempt(self, mutant: Mutant) -> Result:
        """Runs the tests for a mutant: those that killed the latest ones of its file, then the likeliest, then all."""
        begun = time.monotonic()
        tests = self._known.tests_for(mutant)
        if not tests:
            return Result(mutant, "unreached", 0.0)
        killers = self._killers.setdefault(mutant.path, [])
        likely = [
            test
            for test in tests
            if self._known.seconds[test] < SLOW and reach.is_about(test, mutant.path)
        ]
        first = list(dict.fromkeys([*(test for test in killers if test in tests), *likely]))
        rest = [test for test in tests if test not in first]
        with trial.mutated(self.tree, mutant):
            for chosen in filter(None, [first] if self._is_quick and first else [first, rest]):
                within = START_SECONDS + 5 * sum(self._known.seconds[test] for test in chosen)
                report = trial.run(self.tree, chosen, within)
                if report.failed:
                    self._remember(killers, report.failed)
                    status: Status = "timeout" if report.timed_out else "killed"
                    return Result(mutant, status, time.monotonic() - begun, report.failed)
        return Result(mutant, "survived", time.monotonic() - begun)

    @staticmethod
    def _remember(killers: list[str], test: str) -> None:
        if test in killers:
            killers.remove(test)
        killers.insert(0, test)
        del killers[KILLERS:]


job: Job


def _start(known: Reach, trees: Path, is_quick: bool) -> None:
    global job
    job = Job(known, trees, is_quick)


def _measure(file: str) -> trial.Report:
    return job.measure(file)


def _attempt(mutant: Mutant) -> Result:
    return job.attempt(mutant)


def main() -> int:
    """Runs the command; returns its exit status."""
    options = _options().parse_args()
    reasons = explained.read(explained.FILE.read_text())
    if gone := explained.stale(reasons, targets.all_mutants()):
        for name in gone:
            print("explained, but no mutant (any more):", *name, sep="\n    ", file=sys.stderr)
        return 2
    chosen = list(_chosen(options, reasons))
    if options.list:
        for mutant in chosen:
            print(mutant)
        print(f"{len(chosen)} mutants")
        return 0
    trial.import_libraries()
    options.build.mkdir(parents=True, exist_ok=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="trees-", dir=options.build) as trees:
        pool = Pool(options.jobs, Path(trees), options.quick)
        known = _reach(options.build / "reach.json", options.tests, pool)
        for result in pool.map(known, _attempt, chosen):
            results.append(result)
            print(f"[{len(results):>4}/{len(chosen)}] {result}", flush=True)
            _store(options.build, results)
    return _verdict(results, reasons)


class Pool:
    """Processes that each work with a copy of the checkout."""

    def __init__(self, jobs: int, trees: Path, is_quick: bool) -> None:
        self._jobs = jobs
        self._is_quick = is_quick
        self._trees = trees

    def map(
        self, known: Reach, work: Callable[[Item], Done], items: Sequence[Item]
    ) -> Iterator[Done]:
        """Yields what `work` returns for each item, in order, as soon as it exists."""
        # Forked, so that the libraries are imported already; each trial is a fork of these again.
        with multiprocessing.get_context("fork").Pool(
            self._jobs, _start, [known, self._trees, self._is_quick]
        ) as pool:
            yield from pool.imap(work, items)


def _reach(file: Path, tests: Sequence[str], pool: Pool) -> Reach:
    known = reach.load(file, tests)
    if known is None:
        known = Reach()
        files = reach.test_files(tests)
        print(f"Running the tests of {len(files)} files without a mutant ...", flush=True)
        for tested, report in zip(files, pool.map(known, _measure, files), strict=True):
            known.add(report)
            print(f"  {tested}: {len(report.seconds)} tests", flush=True)
            if report.failed and not report.failures:
                raise SystemExit(f"{tested}: {report.failed}")
        reach.store(file, tests, known)
    for test in known.failures:
        print(f"fails without a mutant, and is left out: {test}", file=sys.stderr)
    return known


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    parser.add_argument(
        "--only",
        action="append",
        metavar="WORD",
        help="only files whose path contains the word, or one line: claim.lua:68 (may be repeated)",
    )
    parser.add_argument(
        "--changed",
        nargs="?",
        const="main",
        metavar="COMMIT",
        help="only files that differ from a commit (main)",
    )
    parser.add_argument(
        "--again", action="store_true", help="only mutants that survived when they were run last"
    )
    parser.add_argument(
        "--explained", action="store_true", help="only those that are explained: they must survive"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run only the tests about a file, and not all that reach it; then --again for the rest",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that run tests (2)")
    parser.add_argument(
        "--tests", nargs="+", default=targets.TESTS, metavar="PATH", help="where the tests are"
    )
    parser.add_argument(
        "--build",
        type=lambda path: Path(path).absolute(),
        default=BUILD,
        metavar="PATH",
        help="where results are kept",
    )
    return parser


def _chosen(options: argparse.Namespace, reasons: Mapping[Name, str]) -> Iterator[Mutant]:
    files = targets.files()
    if options.changed:
        changed = subprocess.run(
            ["git", "diff", "--name-only", options.changed],
            cwd=targets.ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        files = [file for file in files if file in changed.stdout.splitlines()]
    survived = {name for name, status in _stored(options.build).items() if status in SURVIVED}
    for file in files:
        for mutant in targets.mutants(file):
            if (mutant.name in reasons) != options.explained:
                continue
            if options.again and mutant.name not in survived:
                continue
            if not options.only or any(_is_meant(mutant, part) for part in options.only):
                yield mutant


def _is_meant(mutant: Mutant, part: str) -> bool:
    if ":" in part:
        return f"{mutant.path}:{mutant.line}".endswith(part)
    return part in mutant.path


def _stored(build: Path) -> dict[Name, str]:
    file = build / RESULTS
    if not file.exists():
        return {}
    return {
        (path, code, change): status for path, code, change, status in json.loads(file.read_text())
    }


def _store(build: Path, results: Sequence[Result]) -> None:
    """Keeps the newest status of each mutant, whichever run found it."""
    known = _stored(build) | {result.mutant.name: result.status for result in results}
    (build / RESULTS).write_text(
        json.dumps([[*name, status] for name, status in known.items()], indent=0)
    )


def _verdict(results: Sequence[Result], reasons: Mapping[Name, str]) -> int:
    """Prints what is to be done, and returns the exit status."""
    counts = Counter(result.status for result in results)
    print(", ".join(f"{count} {status}" for status, count in counts.most_common()) or "no mutants")
    status = 0
    for result in results:
        is_explained, has_survived = result.mutant.name in reasons, result.status in SURVIVED
        if is_explained and not has_survived:
            print(f"explained as a survivor, but {result}")
            status = 1
        elif has_survived and not is_explained:
            print(f"{result}\n    in: {result.mutant.code}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
