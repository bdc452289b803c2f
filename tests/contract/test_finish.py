"""The end of a run: its status, its last events and its thread's status change in one step."""

import asyncio
from typing import Any

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
    make_due,
    overtaken,
    queued,
    record,
    running,
    take,
    thread_of,
    waiting,
    woken,
)
from harness.waiting import until
from millstream.shared import keys, scripts
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, RunStatus
from millstream.shared.rules.multitask import CancelAction

CAUSES = [
    (Cause.SUCCEEDED, "success"),
    (Cause.FAILED, "error"),
    (Cause.EXHAUSTED, "error"),
    (Cause.TIMED_OUT, "timeout"),
    (Cause.CANCELLED, "interrupted"),
]


@pytest.mark.parametrize(("cause", "status"), CAUSES)
async def test_the_cause_sets_the_status_of_record_reply_and_end_event(
    any_redis: Client, cause: Cause, status: str
) -> None:
    claim = await running(any_redis)
    assert await end(any_redis, claim, cause) == status
    assert (await record(any_redis, claim.spec))["status"] == status
    assert (await events_of(any_redis, claim.spec))[-1] == ("end", {"status": status})
    assert await queued(any_redis) == {}


async def test_the_last_events_precede_the_end_with_the_output(any_redis: Client) -> None:
    claim = await running(any_redis)
    event_parts: list[str | bytes] = ["values", b'{"a":1}', "error", '{"error":"E"}']
    await end(
        any_redis, claim, Cause.FAILED, events=event_parts, output=b'{"out":1}', error=b'{"e":1}'
    )
    names = [name for name, _ in await events_of(any_redis, claim.spec)]
    assert names == ["metadata", "values", "error", "end"]
    key = keys.events(claim.spec.thread_id, claim.spec.run_id)
    [(_, last)] = await any_redis.xrevrange(key, count=1)
    assert int(last.pop(b"at")) > 1e12
    assert last == {b"end": b'{"status":"error"}', b"output": b'{"out":1}'}
    assert (await record(any_redis, claim.spec))["error"] == '{"e":1}'


async def test_after_the_end_events_have_a_ttl_and_the_record_stays(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    await end(any_redis, claim)
    spec = claim.spec
    ttl = await any_redis.ttl(keys.events(spec.thread_id, spec.run_id))
    assert STREAM_TTL - 5 <= ttl <= STREAM_TTL
    assert await any_redis.ttl(keys.run(spec.thread_id, spec.run_id)) == -1
    assert "error" not in await record(any_redis, spec)


async def test_the_end_sends_a_notification(any_redis: Client) -> None:
    claim = await running(any_redis)
    key = keys.events(claim.spec.thread_id, claim.spec.run_id)
    async with any_redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(key)
        await pubsub.get_message(timeout=1)
        await end(any_redis, claim)
        message = await until(lambda: pubsub.get_message(timeout=0.1), what="a doorbell")
        assert message["channel"] == key.encode()


@pytest.mark.parametrize("idle_status", ["idle", "interrupted", "error"])
async def test_a_thread_without_another_run_gets_its_idle_status(
    any_redis: Client, idle_status: str
) -> None:
    claim = await running(any_redis)
    await scripts.finish(
        any_redis,
        claim.spec,
        Cause.SUCCEEDED,
        fence=claim.fence,
        stream_ttl=STREAM_TTL,
        thread={
            "idle_status": idle_status,
            "values": b'{"v":1}',
            "interrupts": b"{}",
            "error": b"",
        },
    )
    thread = await thread_of(any_redis, claim.spec)
    assert thread["status"] == idle_status
    assert thread["values"] == '{"v":1}'
    assert "active" not in thread
    assert thread["state_updated_at"] == thread["updated_at"] > thread["created_at"]


async def test_a_thread_with_another_run_is_busy_and_the_next_one_is_due(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    second, third = [await admit(any_redis, a_spec(claim.spec.thread_id)) for _ in range(2)]
    await any_redis.delete(keys.wake("default"))
    await end(any_redis, claim, idle_status="error")
    thread = await thread_of(any_redis, claim.spec)
    assert (thread["status"], thread["idle_status"]) == ("busy", "error")
    assert thread["active"] == second.run_id
    assert list(await queued(any_redis)) == await woken(any_redis) == [job(second)]
    assert await waiting(any_redis, claim.spec.thread_id) == [job(third)]
    await take(any_redis, second)


async def test_the_next_run_is_released_to_the_queue_it_was_admitted_to(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    other = await admit(any_redis, a_spec(claim.spec.thread_id, queue="other"))
    await end(any_redis, claim)
    assert await queued(any_redis) == {}
    assert list(await queued(any_redis, "other")) == await woken(any_redis, "other") == [job(other)]
    [listed] = await any_redis.zrange(keys.backlog("other"), 0, -1)
    assert listed.decode() in await queued(any_redis, "other")
    await any_redis.delete(keys.queue("other"), keys.wake("other"), keys.backlog("other"))


async def test_a_requested_cancel_takes_precedence_over_every_other_cause(
    any_redis: Client, replies: list[Any]
) -> None:
    claim = await running(any_redis)
    await scripts.cancel(any_redis, claim.spec.thread_id, claim.spec.run_id, CancelAction.INTERRUPT)
    before = await dump(any_redis)
    for cause, _ in CAUSES[:-1]:
        assert await end(any_redis, claim, cause, events=["values", "{}"]) is None
        assert replies[-1] == [b"cancelled", b"interrupt"]
    assert await dump(any_redis) == before
    assert await end(any_redis, claim, Cause.CANCELLED) is RunStatus.INTERRUPTED


async def test_a_pending_run_is_cancelled_without_a_lease_and_releases_the_next(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    second = await admit(any_redis, a_spec(spec.thread_id))
    assert await end_pending(any_redis, spec) is RunStatus.INTERRUPTED
    assert await events_of(any_redis, spec) == [("end", {"status": "interrupted"})]
    assert list(await queued(any_redis)) == [job(second)]
    assert (await thread_of(any_redis, spec))["active"] == second.run_id
    assert await any_redis.ttl(keys.events(spec.thread_id, spec.run_id)) > 0


async def test_a_thread_whose_only_run_never_ran_keeps_its_idle_status(
    any_redis: Client,
) -> None:
    first = await running(any_redis)
    await end(any_redis, first, idle_status="interrupted")
    before = await thread_of(any_redis, first.spec)
    spec = await admit(any_redis, a_spec(first.spec.thread_id))
    await end_pending(any_redis, spec)
    after = await thread_of(any_redis, spec)
    assert after["status"] == "interrupted"
    assert after["state_updated_at"] == before["state_updated_at"]
    assert "active" not in after


async def test_a_cancelled_waiting_run_is_removed_and_the_others_keep_their_order(
    any_redis: Client,
) -> None:
    first = await running(any_redis)
    thread = first.spec.thread_id
    line = [await admit(any_redis, a_spec(thread)) for _ in range(3)]
    before = await thread_of(any_redis, first.spec)
    assert await end_pending(any_redis, line[1]) is RunStatus.INTERRUPTED
    assert await waiting(any_redis, thread) == [job(line[0]), job(line[2])]
    after = await thread_of(any_redis, first.spec)
    assert (
        int(after.pop("last_seq")) == int(before.pop("last_seq")) + 1
    )  # the worker learns that the run was cancelled
    assert after == before
    assert list(await queued(any_redis)) == [first.job]


async def test_a_cancelled_deferred_run_is_dequeued(any_redis: Client) -> None:
    first = await running(any_redis)
    deferred = await admit(any_redis, a_spec(first.spec.thread_id), delay_ms=60_000)
    assert await end_pending(any_redis, deferred) is RunStatus.INTERRUPTED
    assert list(await queued(any_redis)) == [first.job]
    assert (await thread_of(any_redis, deferred))["active"] == first.spec.run_id


async def test_a_handed_back_run_is_cancelled_without_a_lease(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.hand_back(any_redis, claim)
    assert await end_pending(any_redis, claim.spec) is RunStatus.INTERRUPTED
    assert await queued(any_redis) == {}


@pytest.mark.parametrize("cause", [cause for cause, _ in CAUSES])
async def test_a_stale_worker_changes_nothing(
    any_redis: Client, cause: Cause, replies: list[Any]
) -> None:
    old, new = await overtaken(any_redis)
    await admit(any_redis, a_spec(old.spec.thread_id))
    before = await dump(any_redis)
    with pytest.raises(FencedError, match=old.spec.run_id):
        await end(any_redis, old, cause, events=["values", "{}"], error=b"{}")
    assert replies[-1] == [b"fenced"]
    assert await dump(any_redis) == before

    await end(any_redis, new)
    before = await dump(any_redis)
    with pytest.raises(FencedError):
        await end(any_redis, old, cause)
    assert await dump(any_redis) == before


async def test_a_worker_with_a_lapsed_unclaimed_lease_still_ends_its_run(any_redis: Client) -> None:
    claim = await running(any_redis)
    await make_due(any_redis, claim.spec)
    assert await end(any_redis, claim) is RunStatus.SUCCESS
    assert await queued(any_redis) == {}


@pytest.mark.parametrize(("situation", "reply"), [("ended", b"success"), ("deleted", b"")])
async def test_a_second_end_is_refused_and_changes_nothing(
    any_redis: Client, situation: str, reply: bytes, replies: list[Any]
) -> None:
    claim = await running(any_redis)
    await end(any_redis, claim)
    if situation == "deleted":
        await scripts.delete_run(any_redis, claim.spec.thread_id, claim.spec.run_id)
    before = await dump(any_redis)
    for repeat in (end(any_redis, claim), end_pending(any_redis, claim.spec)):
        assert await repeat is None
        assert replies[-1] == [b"refused", reply]
    assert await dump(any_redis) == before


async def test_a_running_run_is_not_ended_without_its_lease(
    any_redis: Client, replies: list[Any]
) -> None:
    claim = await running(any_redis)
    before = await dump(any_redis)
    assert await end_pending(any_redis, claim.spec) is None
    assert replies[-1] == [b"refused", b"running"]
    assert await dump(any_redis) == before


async def test_one_of_fifty_contenders_ends_the_run(any_redis: Client) -> None:
    claim = await running(any_redis)
    line = [await admit(any_redis, a_spec(claim.spec.thread_id)) for _ in range(2)]
    causes = [cause for cause, _ in CAUSES] * 10
    ended = await asyncio.gather(*(end(any_redis, claim, cause) for cause in causes))
    [status] = [status for status in ended if status is not None]
    assert (await record(any_redis, claim.spec))["status"] == status
    names = [name for name, _ in await events_of(any_redis, claim.spec)]
    assert names == ["metadata", "end"]
    assert list(await queued(any_redis)) == [job(line[0])]
    assert await waiting(any_redis, claim.spec.thread_id) == [job(line[1])]
