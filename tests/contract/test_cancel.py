"""A cancel is stored on the record and takes precedence over every later end."""

import asyncio
from typing import Any

import pytest

from contract.builders import (
    STREAM_TTL,
    a_spec,
    admit,
    dump,
    end,
    events_of,
    new_id,
    queued,
    record,
    running,
    take,
    thread_of,
    try_claim,
)
from harness.waiting import until
from millstream.shared import keys, runs, scripts
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, RunStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason
from millstream.shared.wire import RunSpec


async def ask(
    redis: Client, spec: RunSpec, action: CancelAction = CancelAction.INTERRUPT
) -> RunStatus | None:
    return await scripts.cancel(redis, spec.thread_id, spec.run_id, action)


async def ask_and_end(redis: Client, spec: RunSpec) -> RunStatus | None:
    """Cancels as the API does: a pending run ends at once."""
    return await runs.cancel(
        redis, spec.thread_id, spec.run_id, action=CancelAction.INTERRUPT, stream_ttl=STREAM_TTL
    )


@pytest.mark.parametrize("status", [RunStatus.PENDING, RunStatus.RUNNING])
async def test_a_cancel_changes_only_its_field(any_redis: Client, status: RunStatus) -> None:
    spec = await admit(any_redis)
    if status is RunStatus.RUNNING:
        await take(any_redis, spec)
    before = await dump(any_redis)
    assert await ask(any_redis, spec) is status
    assert (await record(any_redis, spec))["cancel"] == "interrupt"
    await any_redis.hdel(keys.run(spec.thread_id, spec.run_id), "cancel", "reason", "cancel_at")  # type: ignore[misc]
    assert await dump(any_redis) == before


async def test_the_first_action_stays(any_redis: Client) -> None:
    spec = (await running(any_redis)).spec
    for action in CancelAction:
        assert await ask(any_redis, spec, action) is RunStatus.RUNNING
    assert (await record(any_redis, spec))["cancel"] == "interrupt"


@pytest.mark.parametrize("cause", [Cause.SUCCEEDED, Cause.FAILED, Cause.TIMED_OUT, Cause.CANCELLED])
async def test_an_ended_run_is_not_cancelled(any_redis: Client, cause: Cause) -> None:
    claim = await running(any_redis)
    ended = await end(any_redis, claim, cause)
    before = await dump(any_redis)
    assert await ask(any_redis, claim.spec) is ended
    assert await ask_and_end(any_redis, claim.spec) is ended
    assert await dump(any_redis) == before


async def test_a_cancel_of_an_unknown_run_writes_nothing(any_redis: Client) -> None:
    assert await ask(any_redis, a_spec()) is None
    assert await ask_and_end(any_redis, a_spec()) is None
    assert await dump(any_redis) == {}


async def test_the_holder_gets_a_notification(any_redis: Client) -> None:
    claim = await running(any_redis)
    async with any_redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(keys.control("w1"))
        await pubsub.get_message(timeout=1)
        await ask(any_redis, claim.spec)
        message = await until(lambda: pubsub.get_message(timeout=0.1), what="a ring")
        assert message["data"] == claim.job.encode()


async def test_a_run_without_a_holder_has_ended_when_the_cancel_returns(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    assert await ask_and_end(any_redis, spec) is RunStatus.PENDING
    assert (await record(any_redis, spec))["status"] == "interrupted"
    assert await events_of(any_redis, spec) == [("end", {"status": "interrupted"})]
    assert await try_claim(any_redis, spec) is None


async def test_a_leased_run_is_ended_by_its_worker(any_redis: Client) -> None:
    claim = await running(any_redis)
    assert await ask_and_end(any_redis, claim.spec) is RunStatus.RUNNING
    assert await end(any_redis, claim) is None
    assert await end(any_redis, claim, Cause.CANCELLED) is RunStatus.INTERRUPTED


async def test_fifty_cancels_of_a_pending_run_end_it_once(any_redis: Client) -> None:
    spec = await admit(any_redis)
    await asyncio.gather(*(ask_and_end(any_redis, spec) for _ in range(50)))
    assert await events_of(any_redis, spec) == [("end", {"status": "interrupted"})]
    assert await queued(any_redis) == {}


async def test_a_cancel_and_an_end_at_once_have_one_winner(any_redis: Client) -> None:
    for n in range(200):
        claim = await running(any_redis)
        contenders: list[Any] = [ask(any_redis, claim.spec), end(any_redis, claim)]
        if n % 2:
            seen, ended = await asyncio.gather(*contenders)
        else:
            ended, seen = await asyncio.gather(*reversed(contenders))
        if ended is None:  # the cancel came first
            assert seen is RunStatus.RUNNING
            assert (await record(any_redis, claim.spec))["status"] == "running"
            assert await end(any_redis, claim, Cause.CANCELLED) is RunStatus.INTERRUPTED
        else:
            assert (seen, ended) == (RunStatus.SUCCESS, RunStatus.SUCCESS)
            assert "cancel" not in await record(any_redis, claim.spec)
        assert [name for name, _ in await events_of(any_redis, claim.spec)] == ["metadata", "end"]


async def test_a_cancel_and_a_claim_at_once_end_as_interrupted(any_redis: Client) -> None:
    for n in range(100):
        spec = await admit(any_redis, a_spec(new_id()))
        contenders: list[Any] = [ask_and_end(any_redis, spec), try_claim(any_redis, spec)]
        if n % 2:
            _, claim = await asyncio.gather(*contenders)
        else:
            claim, _ = await asyncio.gather(*reversed(contenders))
        if claim is not None and (await record(any_redis, spec))["status"] == "running":
            assert await end(any_redis, claim) is None
            assert await end(any_redis, claim, Cause.CANCELLED) is RunStatus.INTERRUPTED
        assert (await record(any_redis, spec))["status"] == "interrupted"
        assert (await events_of(any_redis, spec))[-1] == ("end", {"status": "interrupted"})
        assert (await thread_of(any_redis, spec))["status"] == "idle"
    assert await queued(any_redis) == {}


async def test_one_of_fifty_cancels_sets_reason_and_action(any_redis: Client) -> None:
    spec = (await running(any_redis)).spec
    ways = [
        (CancelAction.INTERRUPT, CancelReason.EXPLICIT),
        (CancelAction.ROLLBACK, CancelReason.DISCONNECT),
    ]
    await asyncio.gather(
        *(
            scripts.cancel(any_redis, spec.thread_id, spec.run_id, action, reason=why)
            for action, why in ways * 25
        )
    )
    noted = await record(any_redis, spec)
    assert (noted["cancel"], noted["reason"]) in ways


@pytest.mark.parametrize("value", ["pause", "", "enqueue"])
async def test_a_cancel_accepts_only_actions(any_redis: Client, value: Any) -> None:
    spec = (await running(any_redis)).spec
    before = await dump(any_redis)
    with pytest.raises(ValueError, match="CancelAction"):
        await ask(any_redis, spec, value)
    assert await dump(any_redis) == before


async def test_an_ended_run_gets_no_reason(any_redis: Client) -> None:
    claim = await running(any_redis)
    await end(any_redis, claim)
    await scripts.cancel(any_redis, claim.spec.thread_id, claim.spec.run_id, CancelAction.INTERRUPT)
    assert "reason" not in await record(any_redis, claim.spec)


async def test_a_displaced_run_has_the_reason_of_the_enum(any_redis: Client) -> None:
    held = (await running(any_redis)).spec
    waits = await admit(any_redis, a_spec(held.thread_id))
    await admit(any_redis, a_spec(held.thread_id, strategy="interrupt"))
    for spec in (held, waits):
        assert (await record(any_redis, spec))["reason"] == CancelReason.SUPERSEDED


async def test_a_run_that_another_client_has_joined_outlives_the_client_that_left(
    any_redis: Client,
) -> None:
    spec = (await running(any_redis)).spec

    async def leave(joined: int) -> RunStatus | None:
        return await scripts.cancel(
            any_redis,
            spec.thread_id,
            spec.run_id,
            CancelAction.INTERRUPT,
            reason=CancelReason.DISCONNECT,
            joined=joined,
        )

    assert await scripts.note_joined(any_redis, spec.thread_id, spec.run_id) == 1
    assert await scripts.note_joined(any_redis, spec.thread_id, spec.run_id) == 2
    before = await dump(any_redis)
    assert (await leave(0), await leave(1)) == (
        None,
        None,
    )  # its creator, and the first that joined
    assert await dump(any_redis) == before
    assert await leave(2) is RunStatus.RUNNING  # the last
    assert (await record(any_redis, spec))["reason"] == CancelReason.DISCONNECT


async def test_a_run_followed_only_by_its_creator_is_cancelled_on_its_disconnect(
    any_redis: Client,
) -> None:
    spec = (await running(any_redis)).spec
    reply = await scripts.cancel(
        any_redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT, joined=0
    )
    assert reply is RunStatus.RUNNING
    assert "cancel" in await record(any_redis, spec)


async def test_nobody_joins_a_run_that_does_not_exist(any_redis: Client) -> None:
    assert await scripts.note_joined(any_redis, new_id(), new_id()) == 0
    assert await dump(any_redis) == {}


async def test_the_end_of_a_cancelled_run_says_why_it_was_cancelled(any_redis: Client) -> None:
    claim = await running(any_redis)
    spec = claim.spec
    await ask(any_redis, spec)
    assert await end(any_redis, claim, Cause.CANCELLED) is RunStatus.INTERRUPTED
    [last] = await any_redis.xrevrange(keys.events(spec.thread_id, spec.run_id), count=1)
    assert last[1][b"reason"] == CancelReason.EXPLICIT.encode()
    other = await running(any_redis)
    await end(any_redis, other)
    key = keys.events(other.spec.thread_id, other.spec.run_id)
    [last] = await any_redis.xrevrange(key, count=1)
    assert b"reason" not in last[1]
