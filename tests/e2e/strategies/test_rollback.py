"""After a rollback the thread equals the thread before the run, byte for byte."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from e2e.strategies.client import Client, NodeLog
from millstream.shared import assistants, keys
from millstream.shared.redis import Client as Redis
from millstream.shared.wire import GraphInfo

FIELDS = ("status", "values", "interrupts", "error", "state_updated_at")
READ = {
    b"hash": "hgetall",
    b"set": "smembers",
    b"zset": "zrange",
    b"string": "get",
}


async def checkpoints(redis: Redis, thread: str) -> dict[str, Any]:
    """Returns the content of all keys that hold checkpoints of the thread."""
    content: dict[str, Any] = {}
    async for key in redis.scan_iter(f"ms:{{{thread}}}:checkpoints*", count=5000):
        kind = await redis.type(key)
        options = (0, -1, "WITHSCORES") if kind == b"zset" else ()
        value = await redis.execute_command(READ[kind].upper(), key, *options)  # type: ignore[no-untyped-call]
        content[key.decode()] = value
    return content


async def snapshot(client: Client, redis: Redis, thread: str) -> list[Any]:
    """Returns the API's view of the thread, and all keys of its state in Redis."""
    record = await client.thread_record(thread)
    listed = (await client.http.get(f"/threads/{thread}/runs")).json()
    return [
        {field: record[field] for field in FIELDS},
        [run["run_id"] for run in listed],
        await client.state(thread),
        await checkpoints(redis, thread),
    ]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("earlier", ["none", "some"])
async def test_rollback_of_a_run_with_subgraphs_restores_the_thread(
    client: Client, redis: Redis, log: NodeLog, durability: str, earlier: str
) -> None:
    thread = await client.thread()
    if earlier == "some":
        await client.wait(thread, "nested", left=2, tag="e", durability=durability)
        await client.wait(thread, "walk", left=1, tag="f")
    before = await snapshot(client, redis, thread)
    if earlier == "none":
        before[2] = {**before[2], "values": {}}
    run = await client.create(
        thread, "nested", left=50, delay=0.05, log=log.path, durability=durability
    )
    await log.wait_for("stop", times=3)
    if durability != "exit":
        assert await checkpoints(redis, thread) != before[3]
    answer = await client.cancel(thread, run, wait=True, action="rollback")
    assert answer.status_code == 200
    assert await client.status(thread, run) == "gone"
    after = await snapshot(client, redis, thread)
    assert without_nothing(after[2]) == without_nothing(before[2])
    assert (after[:2], after[3]) == (before[:2], before[3])


def without_nothing(state: dict[str, Any]) -> dict[str, Any]:
    """Returns {} for a state without checkpoints. If the thread had a graph, such a state still has the
    selector of a checkpoint; if not, it has none."""
    return {} if state["created_at"] is None else state


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("graph", ["questions", "inside"])
async def test_rollback_of_a_resume_restores_the_interrupts(
    client: Client, redis: Redis, log: NodeLog, graph: str, durability: str
) -> None:
    """The writes of the resume belong to checkpoints of the interrupted run."""
    thread = await client.thread()
    await client.wait(thread, graph, durability=durability)
    before = await snapshot(client, redis, thread)
    interrupts = [i for of_task in before[0]["interrupts"].values() for i in of_task]
    answers = {i["id"]: "no" for i in interrupts}
    for number in range(2):
        tag = f"r{number}"
        run = await client.create(
            thread, graph, command={"resume": answers}, delay=9, tag=tag, log=log.path,
            durability=durability,
        )  # fmt: skip
        await log.wait_for("start", tag)
        await client.cancel(thread, run, wait=True, action="rollback")
        assert await snapshot(client, redis, thread) == before
    answers = dict.fromkeys(answers, "yes")
    answer = await client.wait(thread, graph, command={"resume": answers})
    assert "no" not in str(answer["items"])
    assert (await client.thread_record(thread))["status"] == "idle"


async def test_rollback_of_a_partial_resume_keeps_the_earlier_answer(
    client: Client, redis: Redis, log: NodeLog
) -> None:
    """A run that pauses again is a success, and is not rolled back with the run after it."""
    thread = await client.thread()
    await client.wait(thread, "questions")
    [first, second] = [
        i["id"]
        for of_task in (await client.thread_record(thread))["interrupts"].values()
        for i in of_task
    ]
    await client.wait(thread, "questions", command={"resume": {first: "kept"}})
    before = await snapshot(client, redis, thread)
    command = {"resume": {second: "undone"}}
    run = await client.create(thread, "questions", command=command, delay=9, log=log.path)
    await log.wait_for("start")
    await client.cancel(thread, run, wait=True, action="rollback")
    assert await snapshot(client, redis, thread) == before
    answer = await client.wait(thread, "questions", command={"resume": {second: "given"}})
    assert sorted(item.partition("=")[2] for item in answer["items"][:2]) == ["given", "kept"]


@pytest.fixture
async def away(redis: Redis) -> AsyncIterator[str]:
    """A graph without a live worker: its runs wait."""
    name = f"away_{uuid.uuid4().hex[:8]}"
    await assistants.announce(redis, [GraphInfo(graph_id=name, queue=name)])
    yield name
    await redis.hdel(keys.graphs(), name)  # type: ignore[misc]
    await redis.delete(keys.wake(name))


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("graph", ["nested", "questions", "inside"])
async def test_the_rollback_strategy_restores_the_thread(
    client: Client, redis: Redis, log: NodeLog, away: str, graph: str, durability: str
) -> None:
    """The next run starts from the restored state. It waits, so that the state can be compared."""
    thread = await client.thread()
    await client.wait(thread, graph, left=2, durability=durability)
    before = await snapshot(client, redis, thread)
    answers = [i["id"] for of_task in before[0]["interrupts"].values() for i in of_task]
    run_input: dict[str, Any] = (
        {"command": {"resume": dict.fromkeys(answers, "no")}} if answers else {"left": 50}
    )
    run = await client.create(
        thread,
        graph,
        delay=9 if answers else 0.05,
        log=log.path,
        durability=durability,
        **run_input,
    )
    await log.wait_for("start", times=1 if answers else 4)
    # No worker serves the graph of the next run, so that run waits.
    then = await client.create(thread, away, multitask_strategy="rollback")
    await client.reaches(thread, run, "gone")
    assert await client.status(thread, then) == "pending"
    assert await checkpoints(redis, thread) == before[3]
    await client.cancel(thread, then, wait=True, action="rollback")
    # The thread's record has the graph of its newest run again only with the next run.
    assert (await client.thread_record(thread))["values"] == before[0]["values"]
