"""The config of a run is stored on its thread as long as its checkpoints are."""

import asyncio
import json

import pytest

from contract.builders import (
    a_spec,
    admit,
    dump,
    end,
    end_pending,
    make_due,
    overtaken,
    running,
    take,
)
from millstream.shared import keys, scripts, threads
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Claim


def config(mode: str) -> bytes:
    return json.dumps({"configurable": {"mode": mode}}).encode()


async def mode_of(redis: Client, thread_id: str) -> str | None:
    stored = await threads.get_config(redis, thread_id)
    return None if stored is None else stored["configurable"]["mode"]


async def roll_back(redis: Client, claim: Claim) -> None:
    await scripts.cancel(redis, claim.spec.thread_id, claim.spec.run_id, CancelAction.ROLLBACK)
    await end(redis, claim, Cause.CANCELLED)


async def test_the_newest_config_is_stored(any_redis: Client) -> None:
    first = await running(any_redis)
    thread = first.spec.thread_id
    assert await mode_of(any_redis, thread) is None
    await scripts.note_config(any_redis, first, config("first"))
    await end(any_redis, first)
    second = await running(any_redis, a_spec(thread))
    assert await mode_of(any_redis, thread) == "first"
    await scripts.note_config(any_redis, second, config("second"))
    await end(any_redis, second, Cause.FAILED)
    assert await mode_of(any_redis, thread) == "second"


@pytest.mark.parametrize("before", [None, "before"])
async def test_a_rollback_restores_the_earlier_config(
    any_redis: Client, before: str | None
) -> None:
    spec = await admit(any_redis)
    claim = await take(any_redis, spec)
    if before is not None:
        await scripts.note_config(any_redis, claim, config(before))
    await end(any_redis, claim)
    rolled_back = await running(any_redis, a_spec(spec.thread_id))
    for mode in ("one", "two"):  # each attempt stores it
        await scripts.note_config(any_redis, rolled_back, config(mode))
    await roll_back(any_redis, rolled_back)
    assert await mode_of(any_redis, spec.thread_id) == before


async def test_a_rollback_of_a_run_without_a_config_changes_nothing(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.note_config(any_redis, claim, config("kept"))
    await end(any_redis, claim)
    thread = claim.spec.thread_id
    await roll_back(any_redis, await running(any_redis, a_spec(thread)))
    waiting = await admit(any_redis, a_spec(thread))
    await scripts.cancel(any_redis, thread, waiting.run_id, CancelAction.ROLLBACK)
    await end_pending(any_redis, waiting)
    assert await mode_of(any_redis, thread) == "kept"


async def test_a_copied_thread_has_the_config(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.note_config(any_redis, claim, config("copied"))
    await end(any_redis, claim)
    copy = await threads.copy_thread(any_redis, claim.spec.thread_id)
    assert await mode_of(any_redis, copy.thread_id) == "copied"


@pytest.mark.parametrize("situation", ["overtaken", "ended", "handed back", "rolled back"])
async def test_a_stale_worker_stores_no_config(any_redis: Client, situation: str) -> None:
    if situation == "overtaken":
        claim, holder = await overtaken(any_redis)
        await scripts.note_config(any_redis, holder, config("holder"))
    else:
        claim = await running(any_redis)
    if situation == "ended":
        await end(any_redis, claim)
    if situation == "handed back":
        await scripts.hand_back(any_redis, claim)
    if situation == "rolled back":
        await scripts.cancel(
            any_redis, claim.spec.thread_id, claim.spec.run_id, CancelAction.ROLLBACK
        )
    before = await dump(any_redis)
    with pytest.raises(FencedError):
        await scripts.note_config(any_redis, claim, config("stale"))
    assert await dump(any_redis) == before


async def test_a_lost_thread_is_not_recreated(any_redis: Client) -> None:
    claim = await running(any_redis)
    await any_redis.delete(keys.thread(claim.spec.thread_id))
    await scripts.note_config(any_redis, claim, config("lost"))
    assert not await any_redis.exists(keys.thread(claim.spec.thread_id))
    await any_redis.flushdb()


async def test_of_fifty_workers_only_the_holder_stores_the_config(real_redis: Client) -> None:
    claims = [await running(real_redis)]
    for number in range(49):
        await make_due(real_redis, claims[0].spec)
        claims.append(await take_again(real_redis, claims[0], f"w{number}"))
    replies = await asyncio.gather(
        *(
            scripts.note_config(real_redis, claim, config(str(number)))
            for number, claim in enumerate(claims)
        ),
        return_exceptions=True,
    )
    assert [type(reply) for reply in replies] == [FencedError] * 49 + [type(None)]
    assert await mode_of(real_redis, claims[0].spec.thread_id) == "49"


async def take_again(redis: Client, claim: Claim, worker: str) -> Claim:
    await redis.hset(  # type: ignore[misc]
        keys.run(claim.spec.thread_id, claim.spec.run_id), "attempt", "0"
    )
    return await take(redis, claim.spec, worker)
