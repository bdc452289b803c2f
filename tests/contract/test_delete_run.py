"""Only an ended run is deleted, with all its keys."""

import asyncio

import pytest

from contract.builders import a_spec, admit, dump, end, running
from millstream.shared import keys, runs, scripts
from millstream.shared.errors import MillstreamError, NotFoundError
from millstream.shared.redis import Client


async def test_an_ended_run_is_deleted_and_its_thread_stays(any_redis: Client) -> None:
    claim = await running(any_redis)
    await end(any_redis, claim)
    spec = claim.spec
    other = await admit(any_redis, a_spec(spec.thread_id))
    assert await scripts.delete_run(any_redis, spec.thread_id, spec.run_id) == "deleted"
    held = await dump(any_redis)
    assert not [key for key in held if spec.run_id in key]
    assert keys.thread(spec.thread_id) in held
    listed = await any_redis.zrange(keys.runs(spec.thread_id), 0, -1)
    assert listed == [other.run_id.encode()]


@pytest.mark.parametrize("situation", ["pending", "running", "missing"])
async def test_a_live_run_is_not_deleted(any_redis: Client, situation: str) -> None:
    spec = a_spec()
    if situation == "pending":
        await admit(any_redis, spec)
    if situation == "running":
        await running(any_redis, spec)
    before = await dump(any_redis)
    assert await scripts.delete_run(any_redis, spec.thread_id, spec.run_id) == situation
    expected = NotFoundError if situation == "missing" else MillstreamError
    with pytest.raises(expected, match=spec.run_id):
        await runs.delete_run(any_redis, spec.thread_id, spec.run_id)
    assert await dump(any_redis) == before


async def test_one_of_fifty_contenders_deletes_the_run(any_redis: Client) -> None:
    claim = await running(any_redis)
    await end(any_redis, claim)
    spec = claim.spec
    replies = await asyncio.gather(
        *(scripts.delete_run(any_redis, spec.thread_id, spec.run_id) for _ in range(50))
    )
    assert sorted(replies) == ["deleted"] + ["missing"] * 49


async def test_a_run_is_never_deleted_before_its_end(any_redis: Client) -> None:
    for _ in range(20):
        claim = await running(any_redis)
        spec = claim.spec
        reply, ended = await asyncio.gather(
            scripts.delete_run(any_redis, spec.thread_id, spec.run_id), end(any_redis, claim)
        )
        assert ended is not None
        left = await any_redis.exists(keys.run(spec.thread_id, spec.run_id))
        assert (reply, left) in [("deleted", 0), ("running", 1)]
