"""Isolation levels of runs, and the processes that execute isolated runs."""

import asyncio
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest

from harness.waiting import until
from millstream.shared import child_process
from millstream.shared.child_process import StartError
from millstream.shared.observer import RunObserver
from millstream.shared.scripts import Claim
from millstream.shared.wire import PROTOCOL, RunSpec
from millstream.worker.execution import CrashError
from millstream.worker.final_record import ExitKind
from millstream.worker.graph_result import GraphResult
from millstream.worker.isolation import messages, processes
from millstream.worker.isolation.level import Level, level_of, needs_unused_process
from millstream.worker.isolation.messages import Ended, Message, Ready, Report
from millstream.worker.isolation.process_run import ProcessRun
from millstream.worker.isolation.processes import Processes, RunProcess
from millstream.worker.isolation.reports import PipeObserver
from millstream.worker.stop_reason import StopReason

MAX_ATTEMPTS = 3


def frame(message: Message) -> bytes:
    """Returns the message as it is sent over the socket."""
    written: list[bytes] = []
    messages.write(cast("Any", SimpleNamespace(write=written.append)), message)
    return b"".join(written)


READY = frame(Ready())
ENDED = frame(
    Ended(
        result=GraphResult(kind=ExitKind.COMPLETED, input_events=("a", b"b")), reason=None, items=["c", b"d"],
        batches=2, index=7, refused=False, is_idle=True,
    )
)  # fmt: skip
# Says that it is ready; then does, for each message, what the test asks for. It imports nothing of the
# project, which would take seconds.
CHILD = """
import asyncio, os, socket, sys

async def main():
    sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--socket") + 1]))
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write({ready!r})
    while size := int.from_bytes(await reader.read(4), "big"):
        await reader.readexactly(size)
        {does}

asyncio.run(main())
"""


def child(does: str) -> list[str]:
    """Returns the command of a process that executes `code` for each message."""
    return [sys.executable, "-c", CHILD.format(ready=READY, does=does)]


ENDS = child(f"writer.write({ENDED!r})")


class Appended(RunObserver):
    """Notes the reports of events."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int, float]] = []

    def appended(self, count: int, size: int, seconds: float) -> None:
        self.reports.append((count, size, seconds))


def a_claim(**arguments: Any) -> Claim:
    spec = RunSpec(
        protocol=PROTOCOL, run_id="r", thread_id="t", assistant_id="a", graph_id="g", queue="q",
        strategy="enqueue", temporary=False, metadata=b"{}", kwargs=b"{}",
    )  # fmt: skip
    fields: dict[str, Any] = {
        "fence": 5,
        "attempt": 1,
        "cancel": None,
        "created_at": 1,
        **arguments,
    }
    return Claim(spec=spec, job="t/r", **fields)


LEVELS = [
    ({}, False, Level.SHARED),
    ({}, True, Level.PROCESS),
    ({"attempt": 2}, False, Level.PROCESS),
    ({"attempt": MAX_ATTEMPTS}, False, Level.PROCESS),
    ({"attempt": MAX_ATTEMPTS + 1}, False, Level.ALONE),
    ({"attempt": MAX_ATTEMPTS + 1}, True, Level.ALONE),
    ({"attempt": 2, "crashes": 1}, False, Level.PROCESS),  # its process died, and no lease lapsed
    ({"attempt": MAX_ATTEMPTS + 1, "crashes": MAX_ATTEMPTS}, False, Level.PROCESS),
    ({"attempt": MAX_ATTEMPTS + 2, "crashes": 1}, False, Level.ALONE),
    # A run that is ended and not executed needs no process.
    ({"attempt": 9, "cancel": "interrupt"}, True, Level.SHARED),
    ({"attempt": 9, "crashes": MAX_ATTEMPTS, "exhausted": True}, True, Level.SHARED),
]


@pytest.mark.parametrize(("arguments", "isolated", "expected"), LEVELS)
def test_the_isolation_level_depends_on_graph_and_crashes(
    arguments: dict[str, Any], isolated: bool, expected: Level
) -> None:
    assert level_of(a_claim(**arguments), isolated=isolated, max_attempts=MAX_ATTEMPTS) is expected


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        ({}, False),
        ({"attempt": 2}, False),  # a lapse
        ({"attempt": 2, "crashes": 1}, False),
        ({"attempt": 3, "crashes": 1}, True),  # a lapse and a crash: the next one is the last
        ({"attempt": 5, "crashes": 1}, True),  # lapses count as one
        ({"attempt": 3, "crashes": 2}, True),
    ],
)
def test_the_last_attempt_is_isolated(arguments: dict[str, Any], needs: bool) -> None:
    assert needs_unused_process(a_claim(**arguments), max_attempts=MAX_ATTEMPTS) is needs


async def test_a_run_that_needs_a_new_process_gets_one() -> None:
    second_ends = (
        "seen = globals().setdefault('seen', []); seen.append(1); len(seen) > 1 and os._exit(3)"
    )
    pool = Processes(child(f"{second_ends}; writer.write({ENDED!r})"), max_processes=1)
    await pool.warm_up()  # has executed nothing
    warm = pool._idle[0]
    first = ProcessRun(a_claim(), pool, job_timeout=5, unused=True)
    assert (await first.run()).kind is ExitKind.COMPLETED
    assert pool._idle == [warm]
    other = ProcessRun(a_claim(), pool, job_timeout=5, unused=True)
    assert (await other.run()).kind is ExitKind.COMPLETED
    assert not warm.is_alive
    with pytest.raises(CrashError):
        await ProcessRun(a_claim(), pool, job_timeout=5).run()
    await pool.aclose()


async def test_reports_of_the_process_reach_the_observer_of_the_worker() -> None:
    seen = Appended()
    report = frame(Report("appended", [2, 30, 0.5]))
    pool = Processes(child(f"writer.write({report + report + ENDED!r})"), max_processes=1)
    run = ProcessRun(a_claim(), pool, job_timeout=5, observer=seen)
    assert (await run.run()).kind is ExitKind.COMPLETED
    assert seen.reports == [(2, 30, 0.5)] * 2
    await pool.aclose()


async def test_a_process_reports_only_to_a_worker_that_observes() -> None:
    written: list[bytes] = []
    observer = PipeObserver(
        cast("Any", SimpleNamespace(write=written.append, is_closing=lambda: False))
    )
    observer.step_ended("g", 1.0)
    assert written == []
    observer.is_enabled = True
    reports = {
        "appended": (1, 2, 0.5),
        "checkpoint_stored": (9, 0.5),
        "step_ended": ("g", 1.0),
        "write_refused": ("events",),
    }
    for method, arguments in reports.items():
        getattr(observer, method)(*arguments)
    expected = [frame(Report(cast("Any", m), list(args))) for m, args in reports.items()]
    assert written == expected
    assert {*reports} == {*get_args(Report.__annotations__["method"])}


async def test_a_process_is_reused(caplog: pytest.LogCaptureFixture) -> None:
    pool = Processes(ENDS, max_processes=1)
    for _ in range(2):
        run = ProcessRun(a_claim(), pool, job_timeout=5)
        assert await run.run() == GraphResult(kind=ExitKind.COMPLETED, input_events=("a", b"b"))
        unsent = await run.close()
        assert (unsent.items, unsent.batches, unsent.index) == (["c", b"d"], 2, 7)
        assert (await run.close()).items == []
    first = await pool.take()
    pool.give_back(first, is_idle=True)
    assert await pool.take() is first
    pool.give_back(first, is_idle=False)
    second = await pool.take()
    assert second is not first
    pool.give_back(second, is_idle=True)
    await pool.aclose()
    assert not second.is_alive


async def test_an_idle_process_ends_after_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "IDLE_SECONDS", 0.05)
    pool = Processes(ENDS, max_processes=1)
    await pool.warm_up()
    started = await pool.take()
    pool.give_back(started, is_idle=True)
    await until(lambda: not started.is_alive)
    await pool.aclose()


async def test_a_dead_idle_process_is_not_reused() -> None:
    pool = Processes(ENDS, max_processes=1)
    dead = await pool.take()
    pool.give_back(dead, is_idle=True)
    dead._process.kill()
    await until(lambda: not dead.is_alive)
    fresh = await pool.take()
    assert fresh is not dead
    pool.give_back(fresh, is_idle=True)
    await pool.aclose()


async def test_the_number_of_processes_is_limited() -> None:
    pool = Processes(ENDS, max_processes=1)
    first = await pool.take()
    waiting = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    pool.give_back(first, is_idle=True)
    assert await waiting is first
    pool.give_back(first, is_idle=True)
    await pool.aclose()


DEATHS = [
    ("os._exit(7)", "ended itself with exit status 7"),
    ("os.kill(os.getpid(), 11)", "was ended by signal 11 (SIGSEGV, a crash of native code)"),
    ("os.kill(os.getpid(), 9)", "was ended by signal 9 (SIGKILL, as the kernel does when memory"),
    ("os.kill(os.getpid(), 34)", "was ended by signal 34"),
    ("writer.close(); await asyncio.sleep(60)", "closed its socket"),
]


@pytest.mark.parametrize(("does", "said"), DEATHS)
async def test_the_error_says_how_the_process_died(
    does: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if does.startswith("writer.close()"):
        monkeypatch.setattr(child_process, "EXIT_SECONDS", 0.1)
    pool = Processes(child(does), max_processes=1)
    with pytest.raises(CrashError) as crash:
        await ProcessRun(a_claim(), pool, job_timeout=5).run()
    assert said in str(crash.value)
    await pool.aclose()
    free = await pool.take()  # its slot is free again
    pool.give_back(free, is_idle=False)
    await pool.aclose()


async def test_a_process_that_can_not_start_uses_up_no_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = Processes([sys.executable, "-c", "raise SystemExit(4)"], max_processes=1)
    with pytest.raises(StartError, match="exit status 4"):
        await pool.take()
    run = ProcessRun(a_claim(), pool, job_timeout=5)
    assert (await run.run()).kind is ExitKind.CANCELLED
    assert run.reason is StopReason.NO_PROCESS
    assert "exit status 4" in caplog.text
    await pool.warm_up()  # logs it, and raises nothing
    await pool.aclose()


async def test_a_system_that_can_not_fork_uses_up_no_attempt(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    pool = Processes(ENDS, max_processes=1)
    run = ProcessRun(a_claim(), pool, job_timeout=5)
    assert (await run.run()).kind is ExitKind.CANCELLED
    assert run.reason is StopReason.NO_PROCESS
    assert "temporarily unavailable" in caplog.text
    await pool.warm_up()
    await pool.aclose()


async def test_a_run_stopped_before_it_gets_a_process_is_not_executed() -> None:
    pool = Processes(ENDS, max_processes=1)
    held = await pool.take()
    run = ProcessRun(a_claim(), pool, job_timeout=5)
    running = asyncio.create_task(run.run())
    await asyncio.sleep(0)
    run.stop(StopReason.CANCELLED)
    run.stop(StopReason.DRAIN)
    assert (await running).kind is ExitKind.CANCELLED
    assert run.reason is StopReason.CANCELLED
    pool.give_back(held, is_idle=True)
    assert await asyncio.wait_for(pool.take(), 5) is held
    pool.give_back(held, is_idle=True)
    await pool.aclose()


async def test_a_run_stopped_as_it_gets_a_process_gives_the_process_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Processes(ENDS, max_processes=1)
    take = pool.take

    async def take_and_stop(**arguments: bool) -> RunProcess:
        child = await take(**arguments)
        run.stop(StopReason.CANCELLED)
        return child

    monkeypatch.setattr(pool, "take", take_and_stop)
    run = ProcessRun(a_claim(), pool, job_timeout=5)
    assert (await run.run()).kind is ExitKind.CANCELLED
    [idle] = pool._idle
    assert (idle.is_alive, idle.is_used) == (True, False)
    assert await asyncio.wait_for(take(), 5) is idle  # its slot is free
    pool.give_back(idle, is_idle=True)
    await pool.aclose()


async def test_a_process_that_is_cancelled_while_it_starts_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def recorded(*argv: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(await create(*argv, **options))
        return started[-1]

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", recorded)
    monkeypatch.setattr(asyncio, "open_connection", never)
    # It ignores its socket, as a project does that is still being imported.
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    starting = asyncio.create_task(Processes(sleeping, max_processes=1).take())
    await until(lambda: bool(started))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await asyncio.wait_for(started[0].wait(), 10) == -signal.SIGKILL


@pytest.mark.parametrize("stopped", [True, False])
async def test_an_unresponsive_process_is_killed(
    stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.worker.isolation.process_run.KILL_GRACE", 0.2)
    pool = Processes(child("await asyncio.sleep(60)"), max_processes=1)
    taken: list[RunProcess] = []
    take = pool.take

    async def record_take(**arguments: bool) -> RunProcess:
        taken.append(await take(**arguments))
        return taken[-1]

    monkeypatch.setattr(pool, "take", record_take)
    run = ProcessRun(a_claim(), pool, job_timeout=60 if stopped else 0.1)
    running = asyncio.create_task(run.run())
    # A run that is stopped before it has its process gives that back unused.
    await until(lambda: bool(taken) and taken[0].is_used)
    if stopped:
        run.stop(StopReason.CANCELLED)
    assert (await running).kind is (ExitKind.CANCELLED if stopped else ExitKind.TIMED_OUT)
    await until(lambda: not taken[0].is_alive)
    await pool.aclose()


async def test_a_lost_lease_takes_precedence_over_the_processes_result() -> None:
    pool = Processes(ENDS, max_processes=1)
    process_runs: list[ProcessRun] = []

    async def lose() -> None:
        process_runs[0].reason = StopReason.LOST

    process_runs.append(ProcessRun(a_claim(), pool, job_timeout=5, make_room=lose))
    await process_runs[0].run()
    assert process_runs[0].reason is StopReason.LOST
    await pool.aclose()


def test_the_command_has_an_absolute_project_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = processes.command(Path("langgraph.json"), "worker-1")
    assert argv[-1] == str(tmp_path / "langgraph.json")
    assert "-P" in argv
