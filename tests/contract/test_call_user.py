"""The token of a call is valid from the call to its reply, for the user of the call alone."""

import asyncio

import pytest

from millstream.shared import calls, keys
from millstream.shared.access import User
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.wire import Call, Reply

ALICE = User.of({"identity": "alice"})


async def called(redis: Client, user: bytes) -> tuple[Call, "asyncio.Task[bytes]"]:
    """Sends a call; returns it as a worker gets it, and the caller that waits for the reply."""
    await redis.zadd(keys.workers("q"), {"w": await redis_time(redis) + 60})
    waiting = asyncio.create_task(
        calls.call_worker(
            redis,
            redis,
            queue="q",
            graph_id="g",
            verb="schemas",
            arguments={},
            within=30,
            user=user,
        )
    )
    call = await calls.take_call(redis, redis, ["q"], 10)
    await redis.delete(keys.workers("q"))
    assert call is not None
    return call, waiting


@pytest.mark.parametrize("how", ["reply", "time"])
async def test_the_token_of_a_call_is_valid_until_its_reply(real_redis: Client, how: str) -> None:
    call, waiting = await called(real_redis, ALICE.pack())
    token = calls.token_of(call)
    assert await calls.user_of(real_redis, token) == ALICE
    for wrong in (
        "",
        "call.",
        token[:-1],
        f"{token}0",
        token.upper(),
        call.call_id,
        f"call.{'0' * 32}",
    ):
        assert await calls.user_of(real_redis, wrong) is None
    key = keys.call_user(call.call_id)
    if how == "time":
        assert 30_000 < await real_redis.pttl(key) < 60_000
        await real_redis.pexpire(key, 0)
    else:
        await calls.send_reply(real_redis, call, Reply(body=b"{}"))
    assert await calls.user_of(real_redis, token) is None
    await calls.send_reply(real_redis, call, Reply(body=b"{}"))
    assert await waiting == b"{}"


async def test_a_call_without_a_user_has_no_token(real_redis: Client) -> None:
    call, waiting = await called(real_redis, b"")
    assert calls.token_of(call) == ""
    assert not await real_redis.exists(keys.call_user(call.call_id))
    assert await calls.user_of(real_redis, f"call.{call.call_id}") is None
    await calls.send_reply(real_redis, call, Reply(body=b"{}"))
    assert await waiting == b"{}"
