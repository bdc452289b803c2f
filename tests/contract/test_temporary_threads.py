"""The thread of a stateless run is deleted with its last run; the run stays readable for a while."""

import pytest

from contract.builders import (
    STREAM_TTL,
    a_spec,
    admit,
    dump,
    end,
    end_pending,
    events_of,
    job,
    record,
    running,
    take,
)
from harness.waiting import until
from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.threads import Ttl, new_thread_fields


@pytest.mark.parametrize("cause", [Cause.SUCCEEDED, Cause.FAILED, Cause.CANCELLED])
async def test_a_temporary_thread_is_deleted_and_its_checkpoints_become_garbage(
    any_redis: Client, cause: Cause
) -> None:
    claim = await running(any_redis, a_spec(temporary=True))
    await end(any_redis, claim, cause)
    spec = claim.spec
    run, events = keys.run(spec.thread_id, spec.run_id), keys.events(spec.thread_id, spec.run_id)
    await any_redis.delete(keys.wake("default"))
    assert set(await dump(any_redis)) == {
        run, events, keys.garbage(), keys.queues(), keys.shares("default"),
    }  # fmt: skip
    assert await any_redis.zrange(keys.garbage(), 0, -1) == [claim.job.encode()]
    for key in (run, events):
        assert STREAM_TTL - 5 <= await any_redis.ttl(key) <= STREAM_TTL
    assert (await events_of(any_redis, spec))[-1][0] == "end"


async def test_a_client_that_follows_a_temporary_thread_is_notified_of_its_end(
    any_redis: Client,
) -> None:
    """Without the notification it would wait for the next run of a deleted thread."""
    claim = await running(any_redis, a_spec(temporary=True))
    key = keys.segments(claim.spec.thread_id)
    async with any_redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(key)
        await pubsub.get_message(timeout=1)
        await end(any_redis, claim)
        message = await until(lambda: pubsub.get_message(timeout=0.1), what="a notification")
        assert message["channel"] == key.encode()


async def test_a_temporary_thread_with_a_ttl_does_not_expire_again(any_redis: Client) -> None:
    """Its entry would outlive it, and be looked at by each sweep until it is due."""
    spec = a_spec(temporary=True)
    await scripts.admit(
        any_redis,
        spec,
        delay_ms=0,
        new_thread=new_thread_fields({}, Ttl(3_600_000)),
        stream_ttl=STREAM_TTL,
    )
    await end(any_redis, await take(any_redis, spec))
    assert not await any_redis.exists(keys.expiring())


async def test_the_end_of_a_run_without_a_thread_record_writes_no_thread(any_redis: Client) -> None:
    """Redis may have evicted the record of the thread alone."""
    claim = await running(any_redis)
    thread = claim.spec.thread_id
    await any_redis.delete(keys.thread(thread))
    assert await end(any_redis, claim) == "success"
    assert not await any_redis.exists(keys.segments(thread), keys.thread(thread))
    # The rest is for the reaper, which knows whether anyone still needs it.
    await any_redis.delete(keys.run(thread, claim.spec.run_id), keys.runs(thread))


async def test_a_temporary_thread_of_a_cancelled_pending_run_is_deleted(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis, a_spec(temporary=True))
    await end_pending(any_redis, spec)
    assert not await any_redis.exists(keys.thread(spec.thread_id))
    assert (await record(any_redis, spec))["status"] == "interrupted"
    assert await any_redis.ttl(keys.run(spec.thread_id, spec.run_id)) > 0


async def test_a_temporary_thread_stays_until_the_last_of_its_runs_has_ended(
    any_redis: Client,
) -> None:
    first = await running(any_redis, a_spec(temporary=True))
    thread = first.spec.thread_id
    second = await admit(any_redis, a_spec(thread, temporary=True))
    third = await admit(any_redis, a_spec(thread, temporary=True))
    await end(any_redis, first)
    await end_pending(any_redis, third)
    assert await any_redis.exists(keys.thread(thread))
    assert await any_redis.zcard(keys.garbage()) == 0
    await end(any_redis, await take(any_redis, second))
    assert not await any_redis.exists(keys.thread(thread))
    assert await any_redis.zrange(keys.garbage(), 0, -1) == [job(second).encode()]


async def test_a_run_that_keeps_its_thread_prevents_the_deletion(any_redis: Client) -> None:
    other = await running(any_redis)
    await end(any_redis, other)
    temporary = await running(any_redis, a_spec(other.spec.thread_id, temporary=True))
    await end(any_redis, temporary)
    assert await any_redis.exists(keys.thread(other.spec.thread_id))
    assert await any_redis.zcard(keys.garbage()) == 0
