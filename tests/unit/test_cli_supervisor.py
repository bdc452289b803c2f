"""The supervisor of `millstream dev`: readiness, reload, crashes and the end, with simulated processes."""

import contextlib
import json
import os
import select
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from millstream.cli import supervisor
from millstream.cli.console import Console
from millstream.cli.project import read_project
from millstream.cli.supervisor import Changed, Events, Plan, Stop, Supervisor, worker_names
from millstream.cli.watch import Watch

API = """
import json, os, signal, sys
print("hello from the API", flush=True)
print("millstream-ready " + json.dumps({"url": "http://127.0.0.1:1", "pid": os.getpid()}), flush=True)
print("api pid", os.getpid(), flush=True)
signal.pause()
"""

# The graph file decides the simulated worker's behaviour: the names of its graphs, or how it fails.
WORKER = """
import json, os, pathlib, signal, subprocess, sys
graphs = pathlib.Path(sys.argv[1]).read_text().split()
if graphs == ["broken"]:
    sys.exit("graph.py is broken: name 'x' is not defined")
if graphs == ["stubborn"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if graphs == ["parent"]:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    print("grandchild pid", child.pid, flush=True)
ready = {"graphs": graphs, "queue": "default", "jobs": 10, "pid": os.getpid()}
print("millstream-ready " + json.dumps(ready), flush=True)
print("its API is", os.environ["MILLSTREAM_API_URL"], flush=True)
print("worker pid", os.getpid(), file=sys.stderr, flush=True)
signal.pause()
"""


class Screen(Console):
    """A terminal; tests can wait for a line."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.text = ""

    def block(self, text: str, *, err: bool = False) -> None:
        with self._changed:
            self.text += click.unstyle(text) + "\n"
            self._changed.notify_all()

    def wait_for(self, text: str, times: int = 1) -> str:
        """Waits until `text` was written `times` times. Returns the rest of its latest line."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.text.count(text) >= times, 20):
                raise AssertionError(f"{text!r} was not written {times} times:\n{self.text}")
            return self.text.rpartition(text)[2].partition("\n")[0]

    def pid(self, of: str, times: int = 1) -> int:
        return int(self.wait_for(f"{of} pid ", times))


class Running:
    """A supervisor in its own thread."""

    def __init__(self, plan: Plan, graph: Path) -> None:
        self.screen = Screen()
        self.events = Events()
        self.graph = graph
        self.status: int | None = None
        self._supervisor = Supervisor(plan, self.screen, self.events)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def change(self, content: str) -> None:
        self.graph.write_text(content)
        self.events.put(Changed({str(self.graph)}))

    def stop(self) -> int | None:
        self.events.put(Stop())
        return self.ended()

    def ended(self) -> int | None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.status

    def _run(self) -> None:
        self.status = self._supervisor.run()


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.py"
    path.write_text("chat echo")
    return path


@pytest.fixture
def plan(tmp_path: Path, graph: Path) -> Plan:
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"chat": "./graph.py:graph"}}))
    return Plan(
        project=read_project(config),
        environ=os.environ,
        address="http://127.0.0.1:2024",
        api=[sys.executable, "-c", API],
        worker=[sys.executable, "-c", WORKER, str(graph)],
        workers=1,
        reload=True,
        redis="redis://there",
        version="1.2.3",
    )


@pytest.fixture(autouse=True)
def no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the watcher: tests report changes themselves."""
    monkeypatch.setattr(Watch, "start", lambda self: None)
    monkeypatch.setattr(Watch, "stop", lambda self: None)


@contextlib.contextmanager
def running(plan: Plan, graph: Path) -> Iterator[Running]:
    run = Running(plan, graph)
    try:
        yield run
    finally:
        run.stop()


def gone(pid: int) -> bool:
    """Returns whether a child, which the supervisor waits for, has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def ends(pid: int) -> bool:
    """Waits for the end of a process that is no child of this process."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], 10)[0])
    finally:
        os.close(watch)


def test_the_banner_is_printed_once_and_stop_ends_all(plan: Plan, graph: Path) -> None:
    with running(plan, graph) as run:
        run.screen.wait_for("Ctrl-C stops everything.")
        pids = [run.screen.pid("api"), run.screen.pid("worker")]
        assert run.stop() == 0
    assert all(map(gone, pids))
    text = run.screen.text
    assert text.count("Millstream 1.2.3 is ready") == 1
    assert "http://127.0.0.1:1/docs" in text
    assert "chat, echo" in text
    assert "millstream-ready" not in text
    assert "api    │ hello from the API\n" in text
    assert "worker │ worker pid" in text


def test_a_change_restarts_the_worker_only(plan: Plan, graph: Path) -> None:
    with running(plan, graph) as run:
        run.screen.wait_for("is ready")
        first = run.screen.pid("worker")
        run.change("other")
        assert run.screen.wait_for("worker is ready again: ") == "other"
        assert gone(first)
        assert not gone(run.screen.pid("worker", times=2))
        assert not gone(run.screen.pid("api"))
    assert "dev    │ graph.py changed: restarting the worker\n" in run.screen.text
    assert run.screen.text.count("hello from the API") == 1


@pytest.mark.parametrize(
    "section", [{"http": {"app": "./app.py:app"}}, {"auth": {"path": "./auth.py:auth"}}]
)
def test_a_change_restarts_the_api_too_if_the_project_configures_it(
    plan: Plan, graph: Path, section: dict[str, Any]
) -> None:
    graphs = {"chat": "./graph.py:graph"}
    plan.project.config.write_text(json.dumps({"graphs": graphs, **section}))
    with running(replace(plan, project=read_project(plan.project.config)), graph) as run:
        run.screen.wait_for("is ready")
        first = run.screen.pid("api")
        run.change("other")
        run.screen.wait_for("api is ready again: http://")
        run.screen.wait_for("worker is ready again: other")
        assert gone(first)
    assert "graph.py changed: restarting the API and the worker\n" in run.screen.text


def test_a_failed_worker_restarts_at_the_next_change(plan: Plan, graph: Path) -> None:
    graph.write_text("broken")
    with running(plan, graph) as run:
        invitation = run.screen.wait_for("dev    │ worker ended with status 1")
        assert "Correct the file and save it" in invitation
        assert "worker │ graph.py is broken: name 'x' is not defined\n" in run.screen.text
        assert "is ready" not in run.screen.text
        run.change("chat")
        run.screen.wait_for("Millstream 1.2.3 is ready")
        run.change("broken")
        run.screen.wait_for("worker ended with status 1", times=2)
        run.change("chat")
        run.screen.wait_for("worker is ready again: chat")


def test_without_reload_a_failed_worker_ends_all(plan: Plan, graph: Path) -> None:
    graph.write_text("broken")
    with running(replace(plan, reload=False), graph) as run:
        assert run.ended() == 1
    assert "worker ended with status 1: stopping." in run.screen.text


def test_the_end_of_the_api_ends_all(plan: Plan, graph: Path) -> None:
    api = [sys.executable, "-c", "import sys; sys.exit(7)"]
    with running(replace(plan, api=api), graph) as run:
        assert run.ended() == 7
    assert "api ended with status 7: stopping." in run.screen.text


def test_a_process_that_ignores_the_signal_is_killed(
    plan: Plan, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", 0.1)
    graph.write_text("stubborn")
    with running(plan, graph) as run:
        run.screen.wait_for("is ready")
        first = run.screen.pid("worker")
        run.change("stubborn ")
        run.screen.wait_for("ready again")
        second = run.screen.pid("worker", times=2)
        assert run.stop() == 0
    assert gone(first)
    assert gone(second)


@pytest.mark.skipif(sys.platform != "linux", reason="watches a process by its descriptor")
def test_processes_of_a_graph_end_with_its_worker(plan: Plan, graph: Path) -> None:
    graph.write_text("parent")
    with running(plan, graph) as run:
        run.screen.wait_for("is ready")
        grandchild = run.screen.pid("grandchild")
        assert run.stop() == 0
    assert ends(grandchild)


def test_the_output_of_several_workers_is_labelled(plan: Plan, graph: Path) -> None:
    with running(replace(plan, workers=2), graph) as run:
        run.screen.wait_for("Workers  2, each with up to 10 runs")
        run.screen.wait_for("worker pid", times=2)
    assert "worker1 │ worker pid" in run.screen.text
    assert "worker2 │ worker pid" in run.screen.text
    assert worker_names(1) == ["worker"]


def test_a_changed_configuration_is_reloaded(plan: Plan, graph: Path) -> None:
    with running(plan, graph) as run:
        run.screen.wait_for("is ready")
        for content in ('{"graphs": {"a": "b"}, "env": ".env.local"}', "{broken"):
            plan.project.config.write_text(content)
            run.events.put(Changed({str(plan.project.config)}))
        run.screen.wait_for("langgraph.json changed: restarting", times=2)
        run.screen.wait_for("ready again")


def test_workers_get_the_url_of_their_api(plan: Plan, graph: Path) -> None:
    with running(plan, graph) as run:
        assert run.screen.wait_for("its API is ") == "http://127.0.0.1:2024"
        content = '{"graphs": {"a": "b"}, "http": {"mount_prefix": "/base/"}}'
        plan.project.config.write_text(content)
        run.events.put(Changed({str(plan.project.config)}))
        assert run.screen.wait_for("its API is ", times=2) == "http://127.0.0.1:2024/base"


def test_long_lines_and_odd_bytes_pass_through(plan: Plan, graph: Path) -> None:
    program = "import os; os.write(1, b'x' * 300_000 + b'\\xff\\nmillstream-ready nonsense\\n')"
    with running(replace(plan, api=[sys.executable, "-c", program]), graph) as run:
        assert run.ended() == 1
    assert f"api    │ {'x' * 300_000}\ufffd\n" in run.screen.text
    assert "api    │ millstream-ready nonsense\n" in run.screen.text
