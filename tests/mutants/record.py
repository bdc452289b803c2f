"""What a run of tests leaves: which failed, how long each took, and what of the product each reached."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

# What a script that is measured says at each statement: to the log of its server, at the level of warnings.
PROBE: Final = "redis.log(3, '@@{file}:{{line}}')"
PROBED: Final = re.compile(r"@@(\S+):(\d+)")


class Recorder:
    """A plugin of pytest that runs the chosen tests in the order given, and records.

    Without a choice it runs all but those that use the running system, or a simulated Redis beside the real one;
    and records where each comes by.
    """

    def __init__(self, tests: Sequence[str] | None) -> None:
        self._order = None if tests is None else {test: at for at, test in enumerate(tests)}
        self._seconds: dict[str, float] = defaultdict(float)
        self._failures: list[str] = []
        self._timed_out = False
        self._logs: dict[Path, int] = {}  # of the Redis servers, and how far each was read
        # Script → line → tests.
        self.script_lines: dict[str, dict[str, list[str]]] = {}
        self.measurement: coverage.Coverage | None = None

    def report(self) -> dict[str, Any]:
        """Returns the fields of a `Report`, but for the lines."""
        return {
            "failed": self._failures[0] if self._failures else None,
            "timed_out": self._timed_out,
            "seconds": self._seconds,
            "failures": self._failures,
        }

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Chooses and orders."""
        if self._order is None:
            items[:] = [
                item
                for item in items
                if "system" not in getattr(item, "fixturenames", ())
                and "[fakeredis" not in item.nodeid
            ]
            self._find_logs()
        else:
            order = self._order
            items[:] = sorted(
                (item for item in items if item.nodeid in order),
                key=lambda item: order[item.nodeid],
            )

    def _find_logs(self) -> None:
        from millstream.cli.embedded import EmbeddedRedis

        start = EmbeddedRedis.start

        def start_and_note(server: EmbeddedRedis) -> EmbeddedRedis:
            self._logs.setdefault(server.log, 0)
            return start(server)

        EmbeddedRedis.start = start_and_note  # type: ignore[method-assign, assignment]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Says to the measurement which test runs, and reads what scripts have said meanwhile."""
        if self.measurement is not None:
            self.measurement.switch_context(item.nodeid)
        done = yield
        for file, line in self._probed():
            self.script_lines.setdefault(file, {}).setdefault(line, []).append(item.nodeid)
        return done

    def _probed(self) -> set[tuple[str, str]]:
        reached = set[tuple[str, str]]()
        for log, at in self._logs.items():
            if log.exists():
                with log.open() as file:
                    file.seek(at)
                    reached |= {(said[1], said[2]) for said in PROBED.finditer(file.read())}
                    self._logs[log] = file.tell()
        return reached

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Records one phase of a test."""
        self._seconds[report.nodeid] += report.duration
        if report.failed:
            self._failures.append(report.nodeid)
            self._timed_out |= "Timeout (>" in str(report.longrepr)


@contextmanager
def coverage_of(
    tree: Path, files: Sequence[str], recorder: Recorder
) -> Iterator[dict[str, dict[int, list[str]]]]:
    """Measures files within the block; what it yields has, afterwards, the tests that reach each line.

    Lines that are executed at import have the test ''.
    """
    lines: dict[str, dict[int, list[str]]] = {}
    if not files:
        yield lines
        return
    measurement = coverage.Coverage(
        data_file=None, config_file=False, include=[str(tree / file) for file in files]
    )
    recorder.measurement = measurement
    measurement.start()
    yield lines
    measurement.stop()
    data = measurement.get_data()
    for file in files:
        lines[file] = data.contexts_by_lineno(str(tree / file))
