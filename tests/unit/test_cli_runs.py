"""`millstream runs` and `millstream status` against a real Redis."""

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contract.builders import a_spec, admit, end, job, new_id, running, take
from harness.workers import report_worker
from millstream.cli.embedded import EmbeddedRedis
from millstream.cli.main import main
from millstream.shared import keys, scripts
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client, connect
from millstream.shared.runs import stateless_thread_id
from millstream.shared.wire import RunSpec, SlotRecord

Act = Callable[[Client], Awaitable[Any]]
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def url(redis_server: EmbeddedRedis) -> Iterator[str]:
    """An empty database of the real server."""
    url = redis_server.url.rpartition("/")[0] + "/2"
    in_redis(url, lambda redis: redis.flushdb())
    yield url
    in_redis(url, lambda redis: redis.flushdb())


def in_redis(url: str, act: Act) -> Any:
    async def connected() -> Any:
        redis = connect(url)
        try:
            return await act(redis)
        finally:
            await redis.aclose()

    return asyncio.run(connected())


def runs(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["runs", "--redis-url", url, *arguments])


def status(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["status", "--redis-url", url, *arguments])


async def handed_back_twice(redis: Client) -> RunSpec:
    """A run with three attempts, the last of which a worker holds."""
    await report_worker(redis, "w3", "default", graphs=["echo"], version="1", host="h3", slots=4)
    spec = await admit(redis)
    for worker in ("w1", "w2"):
        claim = await take(redis, spec, worker)
        assert await scripts.hand_back(redis, claim, reason="drain")
    await take(redis, spec, "w3")
    return spec


# ── runs explain ────────────────────────────────────────────────────────────────────────────


def test_explain_prints_the_reason_the_next_step_and_the_attempts(url: str) -> None:
    spec = in_redis(url, handed_back_twice)
    result = runs(url, "explain", spec.run_id, "--thread", spec.thread_id)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert lines[0] == f"Run {spec.run_id} on thread {spec.thread_id}: running"
    assert "claimed" in lines
    assert any(line.startswith("  Worker w3 (live, host h3) executes attempt 1") for line in lines)
    first, second, third = lines[lines.index("attempts") + 2 :]
    assert [line.split()[-1] for line in (first, second, third)] == ["w1", "w2", "w3"]
    assert "handed_back (drain)" in first
    assert third.split()[-2] == "runs"
    assert all("█" in line for line in (first, second, third))


def test_explain_as_json_is_the_answer_of_the_api(url: str) -> None:
    spec = in_redis(url, handed_back_twice)
    body = json.loads(runs(url, "explain", spec.run_id, "--json").output)
    assert (body["run_id"], body["reason"]) == (spec.run_id, "claimed")
    assert [each["outcome"] for each in body["attempts"]] == ["handed_back", "handed_back", None]


async def stateless(redis: Client) -> RunSpec:
    run_id = new_id()
    return await admit(redis, a_spec(stateless_thread_id(run_id), run_id=run_id))


async def ended_with_checkpoints(redis: Client) -> RunSpec:
    claim = await running(redis)
    await end(redis, claim)
    run_id, thread_id = claim.spec.run_id, claim.spec.thread_id
    for thread in ("0-a-copy", thread_id):
        member = keys.run_in_thread(run_id, thread)
        await redis.zadd(keys.runs_with_checkpoints(), {member: 0})
    return claim.spec


async def live(redis: Client) -> RunSpec:
    for _ in range(20):
        await admit(redis)
    return await admit(redis)


@pytest.mark.parametrize("scene", [stateless, ended_with_checkpoints, live])
def test_a_run_is_found_by_its_id_alone(
    url: str, scene: Callable[[Client], Awaitable[RunSpec]]
) -> None:
    spec = in_redis(url, scene)
    body = json.loads(runs(url, "explain", spec.run_id, "--json").output)
    assert (body["run_id"], body["thread_id"]) == (spec.run_id, spec.thread_id)
    assert runs(url, "explain", job(spec)).exit_code == 0


@pytest.mark.parametrize("command", ["explain", "cancel"])
@pytest.mark.parametrize("arguments", [[UNKNOWN], [UNKNOWN, "--thread", UNKNOWN], ["x/y"], ["/"]])
def test_an_unknown_run_is_an_error(url: str, command: str, arguments: list[str]) -> None:
    result = runs(url, command, *arguments)
    assert result.exit_code == 1
    assert arguments[0] in result.output
    assert "--thread" in result.output


def test_text_of_redis_can_not_control_the_terminal(url: str) -> None:
    async def act(redis: Client) -> RunSpec:
        claim = await running(redis)
        assert await scripts.hand_back(redis, claim, crash="\x1b[31mred\x1b]0;title\x07")
        await report_worker(redis, "w\x1b[2J", "default", host="\x1b[31mh")
        return claim.spec

    spec = in_redis(url, act)
    for result in (runs(url, "explain", spec.run_id), status(url)):
        assert "\x1b" not in result.output
        assert "\x07" not in result.output


# ── runs list and cancel ────────────────────────────────────────────────────────────────────


def test_the_list_has_the_oldest_run_first_and_is_bounded(url: str) -> None:
    async def act(redis: Client) -> list[str]:
        specs = [(await running(redis)).spec] + [await admit(redis) for _ in range(4)]
        return [spec.run_id for spec in specs]

    ids = in_redis(url, act)
    body = json.loads(runs(url, "list", "--json").output)
    assert [row["run_id"] for row in body["runs"]] == ids
    assert body["live"] == 5
    body = json.loads(runs(url, "list", "--json", "--status", "running").output)
    assert [row["run_id"] for row in body["runs"]] == ids[:1]
    result = runs(url, "list", "--limit", "2")
    assert result.output.splitlines()[-1] == "2 of 5 runs that have not ended"
    assert len(result.output.splitlines()) == 4
    assert runs(url, "list", "--limit", "0").exit_code == 2


def test_a_cancel_ends_a_pending_run_and_asks_a_worker(url: str) -> None:
    pending = in_redis(url, admit)
    result = runs(url, "cancel", pending.run_id, "--action", "rollback")
    assert (result.exit_code, result.output) == (0, "The run is cancelled (rollback).\n")
    assert runs(url, "explain", pending.run_id, "--thread", pending.thread_id).exit_code == 1
    held = in_redis(url, running).spec
    assert "worker ends it" in runs(url, "cancel", held.run_id).output
    body = json.loads(runs(url, "explain", held.run_id, "--json").output)
    assert (body["reason"], body["fields"]["action"]) == ("cancel_requested", "interrupt")

    async def act(redis: Client) -> RunSpec:
        claim = await running(redis)
        await end(redis, claim)
        return claim.spec

    ended = in_redis(url, act)
    result = runs(url, "cancel", ended.run_id, "--thread", ended.thread_id)
    assert (result.exit_code, "had ended as success" in result.output) == (0, True)


# ── status ──────────────────────────────────────────────────────────────────────────────────


async def a_fleet(redis: Client) -> RunSpec:
    """A live worker with a run, and a run that no worker serves for an hour."""
    slot = SlotRecord(
        thread_id="t", run_id="long", graph_id="echo", attempt=2, since=1_000_000,
        isolation="shared",
    )  # fmt: skip
    await report_worker(
        redis, "w1", "default", graphs=["echo"], version="1", slots=3, runs=[slot], protocol=1
    )
    spec = await admit(redis, a_spec(graph_id="other"))
    since = await redis_time(redis) * 1000 - 3_600_000
    for key in (keys.queue("default"), keys.backlog("default")):
        await redis.zadd(key, {job(spec): since})
    await admit(redis)  # just now
    return spec


def test_status_has_queues_workers_and_stuck_runs(url: str) -> None:
    spec = in_redis(url, a_fleet)
    result = status(url, "--json")
    assert result.exit_code == 1
    body = json.loads(result.output)
    assert [(each["run_id"], each["reason"]) for each in body["stuck"]] == [
        (spec.run_id, "unserved")
    ]
    assert (body["slots"], body["busy_slots"]) == (3, 1)
    assert [each["name"] for each in body["queues"]] == ["default"]
    [worker] = body["workers"]
    assert (worker["worker_id"], worker["state"], worker["runs"][0]["run_id"]) == (
        "w1", "live", "long",
    )  # fmt: skip
    result = status(url)
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    for text in ("1 of 3 slots busy", "none serves graph other", "long", "1970-01-01T00:00:01"):
        assert text in result.output


def test_status_is_fine_when_nothing_is_stuck_or_lost(url: str) -> None:
    assert status(url).exit_code == 0
    in_redis(url, lambda redis: report_worker(redis, "w1", "default", ttl=-1))
    assert status(url).exit_code == 1


def test_without_a_redis_the_exit_status_is_one() -> None:
    nowhere = "redis://127.0.0.1:1/0"
    for result in (status(nowhere), runs(nowhere, "list"), runs(nowhere, "explain", UNKNOWN)):
        assert result.exit_code == 1
        assert "Redis can't be used" in result.output


def test_in_a_terminal_the_tables_are_refreshed_until_ctrl_c(url: str) -> None:
    ours, theirs = pty.openpty()
    script = "from millstream.cli.main import main; main()"
    command = [sys.executable, "-c", script, "status", "--redis-url", url]
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    try:
        printed = _read_until(ours, "do not move")
        assert "w-new" not in printed
        in_redis(url, lambda redis: report_worker(redis, "w-new", "default"))
        assert "\x1b" in _read_until(ours, "w-new")
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read_until(terminal: int, text: str) -> str:
    """Returns the output of the terminal up to the text."""
    printed, deadline = "", time.monotonic() + 60
    while text not in printed:
        assert time.monotonic() < deadline, printed
        if select.select([terminal], [], [], 1)[0]:
            printed += os.read(terminal, 65536).decode(errors="replace")
    return printed
