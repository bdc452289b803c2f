"""Which tests reach which file: found by running all of them once, and kept for as long as nothing changes."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mutants.mutant import Mutant
from mutants.targets import ROOT, SUBJECTS
from mutants.trial import Report


@dataclass(slots=True)
class Reach:
    """What a run of all tests showed."""

    seconds: dict[str, float] = field(default_factory=dict)  # test → how long it takes
    failures: list[str] = field(default_factory=list)
    # File → line at which a statement starts → tests that reach it.
    lines: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        """Adds what the tests of one file showed."""
        self.seconds.update(report.seconds)
        self.failures += report.failures
        for file, lines in report.lines.items():
            known = self.lines.setdefault(file, {})
            for line, tests in lines.items():
                known.setdefault(line, []).extend(test for test in tests if test)

    def tests_for(self, mutant: Mutant) -> list[str]:
        """Returns the tests that reach the statement of a mutant, the likeliest to notice it first.

        If none does, as with what is executed at import, they are all that reach its file.
        """
        lines = self.lines.get(mutant.path, {})
        tests = set(lines.get(str(mutant.statement), ())) or {
            test for reached in lines.values() for test in reached
        }
        return sorted(
            tests - set(self.failures),
            key=lambda test: (not is_about(test, mutant.path), self.seconds[test], test),
        )


def is_about(test: str, file: str) -> bool:
    """Returns whether a test stands in a file of tests whose subject is a file of the product."""
    stem = Path(file).stem
    subjects = (f"test_{stem}", *SUBJECTS.get(stem, ()))
    return Path(test.partition("::")[0]).stem.startswith(subjects)


def fingerprint(tests: Sequence[str]) -> str:
    """Returns what changes with the product and with its tests."""
    digest = hashlib.sha256(repr(tests).encode())
    for folder in ("api", "worker", "shared", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".lua") and not {"node_modules", "mutants"} & {*path.parts}:
                digest.update(path.read_bytes())
    return digest.hexdigest()


def load(file: Path, tests: Sequence[str]) -> Reach | None:
    """Returns what was stored, None if it is not there or of another state of the checkout."""
    if not file.exists():
        return None
    stored = json.loads(file.read_text())
    return Reach(**stored["reach"]) if stored["of"] == fingerprint(tests) else None


def store(file: Path, tests: Sequence[str], reach: Reach) -> None:
    """Stores what `load` returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"of": fingerprint(tests), "reach": asdict(reach)}))


def test_files(folders: Iterable[str]) -> list[str]:
    """Returns the test files in folders, or those named."""
    return [
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (
            [ROOT / folder]
            if folder.endswith(".py")
            else sorted((ROOT / folder).rglob("test_*.py"))
        )
    ]
