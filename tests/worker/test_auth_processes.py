"""Faults of authentication processes: the parent replaces them, and no request waits longer than its time.

Except for two tests, the processes are small programs that speak the protocol: a real one imports for a second.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.waiting import until
from millstream.shared.auth_process import answering, auth_child, messages, processes
from millstream.shared.auth_process.answering import Answering
from millstream.shared.auth_process.messages import Authenticate, Cancel, FromChild, Ready
from millstream.shared.auth_process.processes import AuthProcesses, Pauses
from millstream.shared.child_process import frame
from millstream.shared.errors import SettingError, UnauthenticatedError, UnavailableError
from worker.auth_project import CASES, request, started

READY = frame(messages.encode(Ready(["authorization"], [])))
# Executes the `authorization` of each request as code, then answers with its own pid as the identity.
CHILD = """
import asyncio, os, socket, sys, time
import msgspec

def frame(message):
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(4, "big") + data

async def main():
    sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--socket") + 1]))
    reader, writer = await asyncio.open_connection(sock=sock)
    {start}
    writer.write({ready!r})
    while size := int.from_bytes(await reader.read(4), "big"):
        message = msgspec.msgpack.decode(await reader.readexactly(size))
        if message["type"] == "Ping":
            writer.write(frame({{"type": "Pong"}}))
        elif message["type"] == "Cancel":
            print("cancelled", message["id"], flush=True)
        elif message["type"] == "Authenticate":
            answers = True
            scope = {{"os": os, "time": time, "writer": writer, "answers": True}}
            exec(message["arguments"]["authorization"], scope)
            user = msgspec.json.encode({{"identity": str(os.getpid())}})
            if scope["answers"]:
                writer.write(frame({{"type": "Authenticated", "id": message["id"], "user": user}}))

asyncio.run(main())
"""
NEVER = "answers = False"


def program(start: str = "") -> list[str]:
    """Returns the command of a simulated process, which executes `start` first."""
    return [sys.executable, "-c", CHILD.format(ready=READY, start=start)]


@asynccontextmanager
async def simulated(
    *, count: int = 1, seconds: float = 20, start: str = ""
) -> AsyncIterator[AuthProcesses]:
    running = AuthProcesses(program(start), processes=count, timeout=seconds)
    await running.start()
    try:
        await until(lambda: len(running._children) == count)
        yield running
    finally:
        await running.aclose()


async def ask(running: AuthProcesses, code: str = "") -> str:
    """Has a process execute the code; returns the pid of the process that answered."""
    return (await running.authenticate({"authorization": code})).identity


@pytest.fixture
def fast_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not respond is replaced within a fraction of a second."""
    monkeypatch.setattr(auth_child, "PING_SECONDS", 0.05)


async def test_a_question_without_an_answer_costs_its_own_request_only() -> None:
    async with simulated(seconds=0.5) as running:
        never = asyncio.create_task(ask(running, NEVER))
        pid = await ask(running)
        with pytest.raises(UnavailableError, match=r"did not answer within 0\.5 s") as error:
            await never
        assert error.value.retry_after == 1
        assert await ask(running) == pid
        assert running._children[0].pending == 0


async def test_a_request_whose_client_left_is_cancelled_in_the_process(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with simulated() as running:
        never = asyncio.create_task(ask(running, NEVER))
        await until(lambda: running._children[0].pending == 1)
        never.cancel()
        await ask(running)
        await until(lambda: "cancelled 1\n" in capfd.readouterr().out)
        assert running._children[0].pending == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("os._exit(7)", "ended itself with exit status 7"),
        ("os.kill(os.getpid(), 11)", "was ended by signal 11 (SIGSEGV"),
        (r"writer.write(b'\0\0\0\1x')", "sent invalid data"),
    ],
)
async def test_a_process_that_dies_is_replaced(
    code: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulated() as running:
        first = await ask(running)
        waiting = asyncio.create_task(ask(running, NEVER))
        await until(lambda: running._children[0].pending == 1)
        with pytest.raises(UnavailableError, match="ended") as error:
            await ask(running, f"{code}; answers = False")
        assert error.value.retry_after == 1
        with pytest.raises(UnavailableError):
            await waiting
        assert await ask(running) != first
        assert said in caplog.text


@pytest.mark.usefixtures("fast_pings")
async def test_a_process_that_is_stopped_is_killed_and_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with simulated() as running:
        first = await ask(running)
        os.kill(int(first), signal.SIGSTOP)
        with pytest.raises(UnavailableError):
            await ask(running)
        assert await ask(running) != first
        assert "did not respond for 0.25 s and was ended" in caplog.text
        with pytest.raises(ProcessLookupError):
            os.kill(int(first), 0)


@pytest.mark.usefixtures("fast_pings")
async def test_while_a_process_does_not_respond_new_requests_wait_for_the_next_one() -> None:
    async with simulated() as running:
        child = running._children[0]
        blocked = asyncio.create_task(ask(running, "time.sleep(60)"))
        await until(lambda: not child.is_responsive)
        waiting = [asyncio.create_task(ask(running)) for _ in range(5)]
        with pytest.raises(UnavailableError):
            await blocked
        answers = set(await asyncio.gather(*waiting))
        assert answers == {str(running._children[0].pid)}
        assert running._children[0] is not child


@pytest.mark.usefixtures("fast_pings")
async def test_a_process_that_responds_again_in_time_is_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth_child, "STALLED_PINGS", 1000)
    async with simulated() as running:
        child = running._children[0]
        slow = asyncio.create_task(ask(running, "time.sleep(0.4)"))
        await until(lambda: not child.is_responsive)
        assert await ask(running) == await slow == str(child.pid)


@pytest.mark.usefixtures("fast_pings")
async def test_a_blocked_process_is_noticed_after_all_its_questions_ran_out_of_time() -> None:
    async with simulated(seconds=0.04) as running:
        first = running._children[0].pid
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(UnavailableError):
            await ask(running)
        await until(lambda: running._children and running._children[0].pid != first)


async def test_with_several_processes_the_others_answer() -> None:
    async with simulated(count=2) as running:
        never = asyncio.create_task(ask(running, NEVER))
        await until(lambda: sum(child.pending for child in running._children) == 1)
        busy = next(str(child.pid) for child in running._children if child.pending)
        assert await ask(running) != busy  # it has fewer questions
        with pytest.raises(UnavailableError):
            await ask(running, "os._exit(1)")
        assert await ask(running) == busy
        never.cancel()
        await until(lambda: len(running._children) == 2)


async def test_a_process_that_cannot_be_replaced_is_tried_again_after_a_pause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(processes, "MAX_PAUSE", 0.02)
    broken = tmp_path / "broken"
    async with simulated(start=f"os.path.exists({str(broken)!r}) and sys.exit(4)") as running:
        broken.touch()
        with pytest.raises(UnavailableError):
            await ask(running, "os._exit(1)")
        failed = (
            "no authentication process can be started: the process ended itself with exit status 4"
        )
        await until(lambda: caplog.text.count(failed) >= 2)
        waiting = asyncio.create_task(ask(running))
        broken.unlink()
        assert await waiting


def test_the_pauses_before_restarts_grow_and_begin_anew() -> None:
    pauses = Pauses()
    assert [pauses.after(0) for _ in range(7)] == [0, 0.5, 1, 2, 4, 8, 10]
    assert [pauses.after(lived) for lived in (61, 0, 0)] == [0, 0.5, 1]


async def test_no_process_is_left_after_the_close() -> None:
    async with simulated(count=2) as running:
        pids = [child.pid for child in running._children]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_close_right_after_the_start_ends_the_process() -> None:
    running = AuthProcesses(program(), processes=1, timeout=5)
    await running.start()
    [pid] = running.pids
    await running.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_start_without_a_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(socket, "socketpair", fail)
    with pytest.raises(SettingError, match="can't start a process: too many open files"):
        await AuthProcesses(program(), processes=1, timeout=1).start()


def is_gone(pid: int) -> bool:
    """Returns whether a process has ended; a zombie has, too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
async def test_a_process_ends_with_its_parent_even_if_it_is_stopped() -> None:
    parent = f"""
import asyncio
from millstream.shared.auth_process.processes import AuthProcesses

async def main():
    running = AuthProcesses({program()!r}, processes=1, timeout=5)
    await running.start()
    print(running._children[0].pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    os.kill(pid, signal.SIGSTOP)
    process.kill()
    await process.wait()
    await until(lambda: is_gone(pid))


async def test_the_projects_code_blocks_and_ends_its_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(tmp_path, f"{CASES}:auth") as running:
        first = (await running.authenticate(request("echo", headers=[(b"x-one", b"")]))).fields
        monkeypatch.setattr(running, "_timeout", 0.3)
        for case in ("never", "stubborn"):
            with pytest.raises(UnavailableError):
                await running.authenticate(request(case))
        assert (await running.authenticate(request("text"))).identity == "ada"
        monkeypatch.setattr(running, "_timeout", 60)
        with pytest.raises(UnavailableError):
            await running.authenticate(request("die"))
        monkeypatch.setattr(auth_child, "PING_SECONDS", 0.05)
        again = (await running.authenticate(request("echo", headers=[(b"x-one", b"")]))).fields
        assert again["pid"] != first["pid"]
        with pytest.raises(UnavailableError):
            await running.authenticate(request("block"))
        assert is_gone(again["pid"])
        with pytest.raises(UnauthenticatedError):  # the signals of a terminal do not end a process
            await running.authenticate(request("interrupt"))


class HungAuth:
    """A project whose function never returns, and is not async."""

    request_class = None
    parameters: tuple[str, ...] = ()

    def __init__(self, returns: Callable[[], object]) -> None:
        self.authenticate = returns


async def test_a_process_all_of_whose_threads_hang_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result()

    ended: list[int] = []
    monkeypatch.setattr(answering, "THREADS", 2)
    monkeypatch.setattr(os, "_exit", ended.append)
    sent: list[FromChild] = []
    server = Answering(HungAuth(hang), sent.append)  # type: ignore[arg-type]
    for number in (1, 2):
        assert ended == []
        server.receive(Authenticate(number, {}))
        await until(lambda: len(server._threads._threads) == number)  # noqa: B023 - awaited here
        server.receive(Cancel(number))
        await until(lambda: not server._tasks)
    assert ended == [answering.STUCK_STATUS]
    released.set()
    server._threads.shutdown(wait=False)
