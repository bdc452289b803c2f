"""`millstream queues` against a real Redis."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contract.builders import a_spec, admit, running
from harness.workers import report_worker
from millstream.cli.embedded import EmbeddedRedis
from millstream.cli.main import main
from millstream.shared.redis import Client, connect

QUEUE = "slow"
Act = Callable[[Client], Awaitable[Any]]


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


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["queues", "--redis-url", url, *arguments])


async def _a_queue(redis: Client) -> None:
    await report_worker(redis, "w1", QUEUE, graphs=["g"])
    await running(redis, a_spec(queue=QUEUE))
    await admit(redis, a_spec(queue=QUEUE))
    await admit(redis, a_spec(queue=QUEUE), delay_ms=60_000)


def test_an_empty_redis_has_no_queues(url: str) -> None:
    assert (run(url).exit_code, run(url, "--json").output) == (0, "[]\n")


def test_the_list_is_aligned_and_has_no_colours_in_a_pipe(url: str) -> None:
    in_redis(url, _a_queue)
    result = run(url)
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    header, line = (line.split() for line in result.output.splitlines())
    assert header[:7] == ["queue", "due", "oldest", "deferred", "running", "unserved", "workers"]
    assert [line[0], line[1], *line[3:7]] == [QUEUE, "1", "1", "1", "0", "1"]


def test_json_has_the_fields_of_the_api(url: str) -> None:
    in_redis(url, _a_queue)
    [queue] = json.loads(run(url, "--json").output)
    assert queue.pop("oldest_due_age_seconds") > 0
    assert queue == {
        "name": QUEUE, "paused": None, "due": 1, "deferred": 1, "running": 1, "unserved": 0,
        "oldest_unserved_age_seconds": 0.0, "workers": 1, "draining_workers": 0, "lost_workers": 0, "graphs": [],
    }  # fmt: skip


def test_a_queue_is_paused_and_resumed(url: str) -> None:
    in_redis(url, _a_queue)
    result = run(url, "pause", QUEUE, "--reason", "the model's endpoint is down")
    assert result.exit_code == 0
    assert "the model's endpoint is down" in result.output
    first = json.loads(run(url, "pause", QUEUE, "--json").output)
    assert first["name"] == QUEUE
    assert first["paused"]["reason"] == "the model's endpoint is down"
    assert "@" in first["paused"]["by"]
    [queue] = json.loads(run(url, "--json").output)
    assert queue["paused"] == first["paused"]
    assert "paused since 20" in run(url).output
    assert run(url, "resume", QUEUE).output == f"Queue {QUEUE} is resumed.\n"
    assert run(url, "resume", QUEUE).output == f"Queue {QUEUE} was not paused.\n"
    assert json.loads(run(url, "resume", QUEUE, "--json").output)["paused"] is None


def test_due_runs_without_a_worker_are_an_error_unless_the_queue_is_paused(url: str) -> None:
    in_redis(url, lambda redis: admit(redis, a_spec(queue=QUEUE)))
    result = run(url)
    assert result.exit_code == 1
    assert "no live worker on the queue" in result.output
    assert run(url, "--json").exit_code == 1
    assert run(url, "pause", QUEUE).exit_code == 0
    assert run(url).exit_code == 0


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_unknown_queues_and_invalid_names_have_different_statuses(url: str, verb: str) -> None:
    result = run(url, verb, "gpuu")
    assert (result.exit_code, "'gpuu' is unknown" in result.output) == (1, True)
    result = run(url, verb, "NOT A NAME")
    assert (result.exit_code, "is not the name of a queue" in result.output) == (2, True)


def test_a_redis_that_does_not_answer_is_named() -> None:
    result = run("redis://127.0.0.1:1/0")
    assert result.exit_code == 1
    assert "redis://127.0.0.1:1/0" in result.output
    assert run("http://nothing").exit_code == 2
