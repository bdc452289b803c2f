"""An attempt counts against a run if it ended a process that executed nothing else."""

import asyncio

import pytest

from contract.builders import (
    ATTEMPTS,
    dump,
    end,
    events_of,
    make_due,
    overtaken,
    record,
    running,
    take,
    try_claim,
    write,
)
from millstream.shared import scripts
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.scripts import Claim

CRASH = "was ended by signal 11 (SIGSEGV)"


async def lapse(redis: Client, claim: Claim) -> Claim:
    """Returns the claim after the death of a worker with other runs."""
    await make_due(redis, claim.spec)
    return await take(redis, claim.spec)


async def lapse_alone(redis: Client, claim: Claim) -> Claim:
    """Returns the claim after the death of a worker with this run only."""
    assert await scripts.mark_alone(redis, claim)
    return await lapse(redis, claim)


async def crash(redis: Client, claim: Claim) -> Claim:
    """Returns the claim after the run ended its own process."""
    assert await scripts.hand_back(redis, claim, crash=CRASH)
    return await take(redis, claim.spec)


async def attempts(redis: Client, claim: Claim) -> list[int]:
    """Returns the attempts in the run's stream."""
    return [
        data["attempt"] for name, data in await events_of(redis, claim.spec) if name == "metadata"
    ]


async def test_crashes_with_other_runs_never_exhaust_a_run(any_redis: Client) -> None:
    claim = await running(any_redis)
    for lapses in range(1, 10 * ATTEMPTS):
        claim = await lapse(any_redis, claim)
        assert (claim.attempt, claim.lapses, claim.crashes) == (lapses + 1, lapses, 0)
        assert not claim.exhausted
    assert await attempts(any_redis, claim) == list(range(1, 10 * ATTEMPTS + 1))


async def test_a_run_that_always_crashes_its_process_is_exhausted(any_redis: Client) -> None:
    claim = await running(any_redis)
    for crashes in range(1, ATTEMPTS + 1):
        assert not claim.exhausted
        claim = await crash(any_redis, claim)
        assert (claim.crashes, claim.lapses, claim.crash) == (crashes, 0, CRASH)
    assert claim.exhausted
    assert await attempts(any_redis, claim) == list(range(1, ATTEMPTS + 1))
    assert await write(any_redis, claim, 1, "values", "{}")
    assert await end(any_redis, claim, Cause.EXHAUSTED) == "error"


async def test_the_first_lapse_counts_for_a_run_that_crashes_later(
    any_redis: Client,
) -> None:
    claim = await lapse(any_redis, await running(any_redis))
    for _ in range(ATTEMPTS - 1):
        assert not claim.exhausted
        claim = await crash(any_redis, claim)
    assert claim.exhausted
    assert await attempts(any_redis, claim) == list(range(1, ATTEMPTS + 1))


async def test_many_lapses_and_one_crash_do_not_exhaust_a_run(any_redis: Client) -> None:
    claim = await running(any_redis)
    for _ in range(10):
        claim = await lapse(any_redis, claim)
    claim = await crash(any_redis, claim)
    assert (claim.lapses, claim.crashes, claim.exhausted) == (10, 1, False)


async def test_a_crash_with_a_single_run_counts_against_it(any_redis: Client) -> None:
    claim = await lapse(any_redis, await running(any_redis))
    for crashes in range(1, ATTEMPTS):
        assert not claim.exhausted
        claim = await lapse_alone(any_redis, claim)
        assert (claim.crashes, claim.lapses) == (crashes, 1)
    assert claim.exhausted


async def test_being_alone_holds_for_one_claim(any_redis: Client) -> None:
    claim = await lapse_alone(any_redis, await running(any_redis))
    claim = await lapse(any_redis, claim)
    assert (claim.crashes, claim.lapses) == (1, 1)


async def test_a_hand_back_of_a_single_run_is_no_crash(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    assert await scripts.mark_alone(any_redis, claim)
    assert await scripts.hand_back(any_redis, claim)
    claim = await take(any_redis, claim.spec)
    assert (claim.attempt, claim.crashes, claim.lapses) == (1, 0, 0)


async def test_a_repeated_claim_has_the_same_result(any_redis: Client) -> None:
    claim = await running(any_redis)
    for _ in range(ATTEMPTS):
        claim = await crash(any_redis, claim)
    await scripts.hand_back(any_redis, claim, crash=CRASH)
    first = await try_claim(any_redis, claim.spec, token="the same")
    again = await try_claim(any_redis, claim.spec, token="the same")
    assert first is not None
    assert first.exhausted
    assert first == again


async def test_a_claim_of_an_unserved_graph_counts_no_crash_twice(any_redis: Client) -> None:
    """A worker that does not serve the graph may try to claim the run any number of times."""
    claim = await running(any_redis)
    assert await scripts.mark_alone(any_redis, claim)
    for _ in range(5):
        await make_due(any_redis, claim.spec)
        assert await try_claim(any_redis, claim.spec, graphs=["another"]) is None
    assert (await lapse(any_redis, claim)).crashes == 1


@pytest.mark.parametrize("situation", ["overtaken", "ended", "handed back"])
async def test_a_stale_worker_records_no_crash(any_redis: Client, situation: str) -> None:
    if situation == "overtaken":
        claim, _ = await overtaken(any_redis)
    else:
        claim = await running(any_redis)
    if situation == "ended":
        await end(any_redis, claim)
    if situation == "handed back":
        await scripts.hand_back(any_redis, claim)
    before = await dump(any_redis)
    assert not await scripts.mark_alone(any_redis, claim)
    assert not await scripts.hand_back(any_redis, claim, crash=CRASH)
    assert await dump(any_redis) == before


async def test_one_of_fifty_contenders_records_the_crash(any_redis: Client) -> None:
    claim = await running(any_redis)
    noted = await asyncio.gather(
        *(scripts.hand_back(any_redis, claim, crash=CRASH) for _ in range(50))
    )
    assert sum(noted) == 1
    assert (await record(any_redis, claim.spec))["crashes"] == "1"


async def test_fifty_reports_of_being_alone_count_one_crash(any_redis: Client) -> None:
    claim = await running(any_redis)
    assert all(await asyncio.gather(*(scripts.mark_alone(any_redis, claim) for _ in range(50))))
    assert (await lapse(any_redis, claim)).crashes == 1
