"""Every pair of status and cause: the scripts do what the table says, and nothing else."""

from itertools import product

import pytest

from contract.builders import (
    a_spec,
    dump,
    end,
    end_pending,
    make_due,
    record,
    renew,
    running,
    take,
    try_claim,
    write,
)
from millstream.shared import scripts
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL, TRANSITIONS, Cause, RunStatus, follow
from millstream.shared.scripts import Claim

ENDS = {
    RunStatus.SUCCESS: Cause.SUCCEEDED,
    RunStatus.ERROR: Cause.FAILED,
    RunStatus.TIMEOUT: Cause.TIMED_OUT,
    RunStatus.INTERRUPTED: Cause.CANCELLED,
}
BY_A_CLAIM = [Cause.CLAIMED, Cause.LAPSED]
BY_THE_REAPER = [Cause.STRANDED]
BY_A_HOLDER = [cause for cause in Cause if cause not in BY_A_CLAIM + BY_THE_REAPER]


async def brought_to(redis: Client, status: RunStatus) -> tuple[Claim, Claim]:
    """Brings a run to a status. Returns a stale claim and the newest claim of it."""
    old = await running(redis, a_spec())
    await make_due(redis, old.spec)
    new = await take(redis, old.spec, "w2")
    if status is RunStatus.PENDING:
        assert await scripts.hand_back(redis, new)
    elif status is not RunStatus.RUNNING:
        assert await end(redis, new, ENDS[status]) is status
    assert (await record(redis, new.spec))["status"] == status
    return old, new


async def perform(redis: Client, cause: Cause, claim: Claim) -> bool:
    """Reports the cause as a worker with this claim. Returns whether the script accepted it."""
    if cause is Cause.HANDED_BACK:
        return await scripts.hand_back(redis, claim)
    return await end(redis, claim, cause, events=["values", "{}"], error=b"{}") is not None


def test_every_status_and_cause_is_tested() -> None:
    assert set(ENDS) == TERMINAL
    assert {*BY_A_CLAIM, *BY_THE_REAPER, *BY_A_HOLDER} == set(Cause)
    assert {cause for _, cause in TRANSITIONS} == set(Cause)


@pytest.mark.parametrize(("status", "cause"), list(product(RunStatus, BY_A_HOLDER)))
async def test_the_holder_changes_the_status_only_as_the_table_allows(
    any_redis: Client, status: RunStatus, cause: Cause
) -> None:
    _, claim = await brought_to(any_redis, status)
    target = follow(status, cause)
    before = await dump(any_redis)
    if status is RunStatus.PENDING and cause is Cause.CANCELLED:
        # A worker that handed the run back holds no lease, so it can't use this edge.
        assert not await perform(any_redis, cause, claim)
        assert await dump(any_redis) == before
        assert await end_pending(any_redis, claim.spec) is target
    else:
        assert await perform(any_redis, cause, claim) == (target is not None)
    if target is None:
        assert await dump(any_redis) == before
    else:
        assert (await record(any_redis, claim.spec))["status"] == target


@pytest.mark.parametrize("status", RunStatus)
async def test_a_due_job_is_claimed_if_the_table_allows_it_and_dequeued_otherwise(
    any_redis: Client, status: RunStatus
) -> None:
    """A claim of a run whose lease lapsed performs two edges: lapsed, then claimed."""
    _, claim = await brought_to(any_redis, status)
    start = follow(status, Cause.LAPSED) or status
    target = follow(start, Cause.CLAIMED)
    before = await record(any_redis, claim.spec)
    await make_due(any_redis, claim.spec)
    taken = await try_claim(any_redis, claim.spec, "w3")
    assert (taken is not None) == (target is not None)
    after = await record(any_redis, claim.spec)
    if taken is None:
        assert after == before
    else:
        assert after["status"] == target
        assert taken.fence > claim.fence


async def test_a_running_run_is_not_claimed_before_its_lease_lapses(any_redis: Client) -> None:
    assert follow(RunStatus.RUNNING, Cause.CLAIMED) is None
    _, claim = await brought_to(any_redis, RunStatus.RUNNING)
    before = await dump(any_redis)
    assert await try_claim(any_redis, claim.spec, "w3") is None
    assert await dump(any_redis) == before


@pytest.mark.parametrize(("status", "cause"), list(product(RunStatus, BY_A_HOLDER)))
async def test_a_stale_worker_changes_nothing_in_any_cell(
    any_redis: Client, status: RunStatus, cause: Cause
) -> None:
    stale, _ = await brought_to(any_redis, status)
    before = await dump(any_redis)
    if cause is Cause.HANDED_BACK:
        assert not await perform(any_redis, cause, stale)
    else:
        with pytest.raises(FencedError):
            await perform(any_redis, cause, stale)
    assert await dump(any_redis) == before


@pytest.mark.parametrize("status", RunStatus)
async def test_a_stale_worker_can_not_write_or_renew_in_any_status(
    any_redis: Client, status: RunStatus
) -> None:
    stale, _ = await brought_to(any_redis, status)
    before = await dump(any_redis)
    assert not await write(any_redis, stale, 9, "values", "1")
    assert await renew(any_redis, stale) == "lost"
    assert await dump(any_redis) == before


@pytest.mark.parametrize("status", [s for s in RunStatus if s is not RunStatus.RUNNING])
async def test_the_last_holder_can_not_write_or_renew_once_the_run_is_not_running(
    any_redis: Client, status: RunStatus
) -> None:
    _, claim = await brought_to(any_redis, status)
    before = await dump(any_redis)
    assert not await write(any_redis, claim, 9, "values", "1")
    assert await renew(any_redis, claim) == "lost"
    assert await dump(any_redis) == before


@pytest.mark.parametrize("cause", [c for c in BY_A_HOLDER if c is not Cause.CANCELLED])
async def test_an_end_without_a_lease_must_be_a_cancel(any_redis: Client, cause: Cause) -> None:
    _, claim = await brought_to(any_redis, RunStatus.PENDING)
    before = await dump(any_redis)
    with pytest.raises(ValueError, match="no edge"):
        await end_pending(any_redis, claim.spec, cause)
    assert await dump(any_redis) == before
