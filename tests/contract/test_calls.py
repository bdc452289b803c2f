"""A call reaches a live worker, its reply reaches the caller, and nobody waits longer than its timeout."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from contract.builders import dump
from harness.leaks import leaked
from harness.workers import report_worker
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, workers
from millstream.shared.calls import call_worker, send_reply, take_call
from millstream.shared.errors import (
    InvalidError,
    MillstreamError,
    NotFoundError,
    UnavailableError,
)
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client, connect
from millstream.shared.wire import Call, Reply, WorkerRecord, pack
from millstream.shared.workers import live_workers

SHORT = 0.05  # s, for timeouts that are to expire


@pytest.fixture
async def blocking(redis_server: EmbeddedRedis) -> AsyncIterator[Client]:
    """A client for blocking commands."""
    client = connect(redis_server.url.rpartition("/")[0] + "/1", reply_timeout=None)
    yield client
    await client.aclose()


async def put(redis: Client, blocking: Client, within: float = 5.0, verb: str = "state") -> bytes:
    return await call_worker(
        redis,
        blocking,
        queue="default",
        graph_id="echo",
        verb=verb,
        arguments={"thread_id": "t1", "big": 2**60, "text": "\u00fc"},
        within=within,
    )


async def one_call(redis: Client, blocking: Client) -> Call:
    call = await take_call(redis, blocking, ["default"], 5.0)
    assert call is not None
    return call


async def test_a_reply_is_passed_on_unparsed(real_redis: Client, blocking: Client) -> None:
    await report_worker(real_redis, "w1", calls=["default"], ttl=30)
    pending_call = asyncio.create_task(put(real_redis, blocking))
    call = await one_call(real_redis, blocking)
    assert (call.verb, call.graph_id) == ("state", "echo")
    assert call.arguments == {"thread_id": "t1", "big": 2**60, "text": "\u00fc"}
    assert call.deadline == pytest.approx(await redis_time(real_redis) + 5, abs=2)
    await send_reply(real_redis, call, Reply(body=b"not { json"))
    assert await pending_call == b"not { json"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("not_found", NotFoundError),
        ("invalid", InvalidError),
        ("failed", MillstreamError),
        (None, MillstreamError),
        ("of a newer worker", MillstreamError),
    ],
)
async def test_an_error_reaches_the_caller_with_its_type(
    real_redis: Client, blocking: Client, kind: str | None, expected: type[Exception]
) -> None:
    await report_worker(real_redis, "w1", calls=["default"], ttl=30)
    pending_call = asyncio.create_task(put(real_redis, blocking))
    call = await one_call(real_redis, blocking)
    await send_reply(real_redis, call, Reply(error="what went wrong", kind=kind))
    with pytest.raises(expected, match=r"^what went wrong$") as raised:
        await pending_call
    assert type(raised.value) is expected


@pytest.mark.parametrize("situation", ["none", "gone", "silent", "of another queue"])
async def test_without_a_live_worker_a_call_fails_at_once(
    real_redis: Client, blocking: Client, situation: str
) -> None:
    if situation == "gone":
        await report_worker(real_redis, "w1", calls=["default"], ttl=30)
        await workers.leave(real_redis, WorkerRecord(worker_id="w1"), ["default"])
    if situation == "silent":
        await report_worker(real_redis, "w1", calls=["default"], ttl=-1)
    if situation == "of another queue":
        await report_worker(real_redis, "w1", calls=["other"], ttl=30)
    before = await dump(real_redis)
    async with asyncio.timeout(5):
        with pytest.raises(UnavailableError, match="'echo'") as raised:
            await put(real_redis, blocking, within=60.0)
    assert raised.value.retry_after == 5
    assert await dump(real_redis) == before
    await real_redis.delete(keys.workers("other"))


async def test_a_caller_gives_up_after_its_timeout(real_redis: Client, blocking: Client) -> None:
    await report_worker(real_redis, "w1", calls=["default"], ttl=30)
    with pytest.raises(UnavailableError, match=r"within 0\.05 s"):
        await put(real_redis, blocking, within=SHORT)


async def test_an_expired_call_is_dropped(real_redis: Client, blocking: Client) -> None:
    now = await redis_time(real_redis)
    for n, deadline in enumerate([now - 1, now + 60]):
        call = Call(call_id=f"c{n}", verb="v", graph_id="g", arguments={}, deadline=deadline)
        await real_redis.rpush(keys.calls("default"), pack(call))  # type: ignore[misc]
    assert await take_call(real_redis, blocking, ["default"], 5.0) is None
    taken = await take_call(real_redis, blocking, ["default"], 5.0)
    assert taken is not None
    assert taken.call_id == "c1"
    assert await real_redis.llen(keys.calls("default")) == 0  # type: ignore[misc]


async def test_without_a_call_a_worker_gets_none(real_redis: Client, blocking: Client) -> None:
    assert await take_call(real_redis, blocking, ["default"], SHORT) is None


async def test_calls_are_taken_in_order_each_by_one_worker(
    real_redis: Client, blocking: Client
) -> None:
    await report_worker(real_redis, "w1", calls=["default"], ttl=30)

    async def serve() -> None:
        for _ in range(10):
            call = await one_call(real_redis, blocking)
            await send_reply(real_redis, call, Reply(body=call.verb.encode()))

    answers, *_ = await asyncio.gather(
        asyncio.gather(*(put(real_redis, blocking, verb=f"v{n}") for n in range(50))),
        *(serve() for _ in range(5)),
    )
    assert answers == [b"v%d" % n for n in range(50)]


async def test_an_unread_reply_expires(real_redis: Client) -> None:
    call = Call(call_id="c1", verb="v", graph_id="g", arguments={}, deadline=0)
    await send_reply(real_redis, call, Reply(body=b"1"))
    assert 50 <= await real_redis.ttl(keys.reply("c1")) <= 60
    assert await leaked(real_redis) == []


async def test_a_worker_counts_as_live_for_its_announced_time(any_redis: Client) -> None:
    await report_worker(any_redis, "w1", calls=["default"], ttl=30)
    await report_worker(any_redis, "w2", calls=["default"], ttl=-1)
    assert (await live_workers(any_redis, "default"))[0] == 1
    await report_worker(any_redis, "w1", calls=["default"], ttl=-100)
    await report_worker(any_redis, "w3", calls=["default"], ttl=30)
    assert sorted(await any_redis.zrange(keys.workers("default"), 0, -1)) == [b"w2", b"w3"]
