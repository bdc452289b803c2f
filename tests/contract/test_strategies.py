"""Multitask strategies, cancels and fences in the scripts."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable

import pytest

from contract.simulated_runs import (
    TTL,
    Pool,
    claim,
    claim_due,
    ends,
    finish,
    leftovers,
    status,
    submit,
    waiting,
)
from harness.waiting import until
from millstream.shared import keys, runs, scripts
from millstream.shared.errors import ConflictError, FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, RunStatus
from millstream.shared.rules.multitask import CancelAction, Strategy
from millstream.shared.scripts import Batch, Claim
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace

Record = Callable[[str, object], None]
CANCELLING = (Strategy.INTERRUPT, Strategy.ROLLBACK)


@pytest.fixture
def thread() -> str:
    return str(uuid.uuid4())


async def put(redis: Client, claimed: Claim, checkpoint_id: str) -> None:
    """Stores a checkpoint under a claim."""
    await scripts.put_checkpoint(
        redis, CheckpointNamespace(claimed.spec.thread_id, ""), claimed, checkpoint_id=checkpoint_id,
        parent_id="", run_id=claimed.spec.run_id, record=b"r", fields=[], values={},
    )  # fmt: skip


async def test_reject_writes_nothing(any_redis: Client, thread: str) -> None:
    first = (await submit(any_redis, thread)).spec.run_id
    before = sorted([key async for key in any_redis.scan_iter()])
    with pytest.raises(ConflictError, match="Thread is already running a task"):
        await submit(any_redis, thread, Strategy.REJECT)
    assert sorted([key async for key in any_redis.scan_iter()]) == before
    assert await runs.cancel_action(any_redis, thread, first) is None


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_free_thread_admits_any_strategy(
    any_redis: Client, thread: str, strategy: Strategy
) -> None:
    run = (await submit(any_redis, thread, strategy)).spec.run_id
    assert await finish(any_redis, await claim_due(any_redis, thread, run)) is RunStatus.SUCCESS
    assert not await leftovers(any_redis, thread)


@pytest.mark.parametrize(
    ("strategy", "left"), [(Strategy.INTERRUPT, "interrupted"), (Strategy.ROLLBACK, "gone")]
)
async def test_a_pending_run_is_ended_by_the_admission(
    any_redis: Client, thread: str, strategy: Strategy, left: str
) -> None:
    first = (await submit(any_redis, thread)).spec.run_id
    second = (await submit(any_redis, thread, strategy)).spec.run_id
    assert await status(any_redis, thread, first) == left
    assert await ends(any_redis, thread, first) == 1
    assert await claim(any_redis, thread, first) is None
    assert (await claim_due(any_redis, thread, second)).cancel is None


@pytest.mark.parametrize(
    ("strategy", "left"), [(Strategy.INTERRUPT, "interrupted"), (Strategy.ROLLBACK, "gone")]
)
async def test_a_running_run_is_cancelled_and_waiting_runs_end(
    any_redis: Client, thread: str, strategy: Strategy, left: str
) -> None:
    first = (await submit(any_redis, thread)).spec.run_id
    claimed = await claim_due(any_redis, thread, first)
    queued = (await submit(any_redis, thread)).spec.run_id
    second = (await submit(any_redis, thread, strategy)).spec.run_id
    assert await status(any_redis, thread, first) == "running"
    assert await status(any_redis, thread, queued) == left
    assert await waiting(any_redis, thread) == [second]

    assert await finish(any_redis, claimed) is RunStatus.INTERRUPTED
    assert await status(any_redis, thread, first) == left
    assert await claim(any_redis, thread, queued) is None
    assert await finish(any_redis, await claim_due(any_redis, thread, second)) is RunStatus.SUCCESS
    assert not await leftovers(any_redis, thread)


@pytest.mark.parametrize("first_action", CANCELLING)
@pytest.mark.parametrize("second_action", CANCELLING)
async def test_the_first_action_and_the_newest_run_win(
    any_redis: Client, thread: str, first_action: Strategy, second_action: Strategy
) -> None:
    first = (await submit(any_redis, thread)).spec.run_id
    claimed = await claim_due(any_redis, thread, first)
    second = (await submit(any_redis, thread, first_action)).spec.run_id
    third = (await submit(any_redis, thread, second_action)).spec.run_id
    assert await runs.cancel_action(any_redis, thread, first) == CancelAction(first_action.value)
    assert await status(any_redis, thread, second) in ("interrupted", "gone")
    assert await waiting(any_redis, thread) == [third]
    await finish(any_redis, claimed)
    pool = Pool(any_redis)
    await pool.drain()
    assert pool.executed == pool.ended == [third]
    assert not await leftovers(any_redis, thread)


@pytest.mark.parametrize("strategy", CANCELLING)
async def test_admission_and_finish_at_once_end_a_run_once(
    real_redis: Client, strategy: Strategy
) -> None:
    """An admission races a finish: the run succeeds or is cancelled, never both."""
    seen: Counter[tuple[str, str]] = Counter()
    for number in range(100):
        thread = str(uuid.uuid4())
        first = (await submit(real_redis, thread)).spec.run_id
        claimed = await claim_due(real_redis, thread, first)
        meeting = [finish(real_redis, claimed), submit(real_redis, thread, strategy)]
        if number % 2:
            meeting.reverse()
        results = await asyncio.gather(*meeting)
        second = next(r for r in results if isinstance(r, runs.RunRecord)).spec.run_id
        ended = next(r for r in results if isinstance(r, RunStatus))
        assert await ends(real_redis, thread, first) == 1
        seen[ended.value, await status(real_redis, thread, first)] += 1
        assert await finish(real_redis, await claim_due(real_redis, thread, second))
        assert not await leftovers(real_redis, thread)
    lost = "gone" if strategy is Strategy.ROLLBACK else "interrupted"
    assert set(seen) <= {("success", "success"), ("interrupted", lost)}


async def test_a_repeated_admission_changes_nothing(any_redis: Client, thread: str) -> None:
    first = (await submit(any_redis, thread)).spec.run_id
    await claim_due(any_redis, thread, first)
    again = str(uuid.uuid4())
    one = await submit(any_redis, thread, Strategy.INTERRUPT, run_id=again)
    two = await submit(any_redis, thread, Strategy.INTERRUPT, run_id=again)
    assert one.created_at == two.created_at
    assert await waiting(any_redis, thread) == [again]


async def test_a_due_deferred_run_joins_the_fifo_of_a_busy_thread(
    real_redis: Client, thread: str
) -> None:
    deferred = (await submit(real_redis, thread, Strategy.ROLLBACK, delay_ms=1)).spec.run_id
    first = (await submit(real_redis, thread)).spec.run_id
    claimed = await claim_due(real_redis, thread, first)

    async def due() -> list[str]:
        return (await scripts.find_due(real_redis, "default", 5))[0]

    await until(due)
    assert await claim(real_redis, thread, deferred) is None
    assert await waiting(real_redis, thread) == [deferred]
    assert await finish(real_redis, claimed) is RunStatus.SUCCESS


Admitted = dict[Strategy, list[runs.RunRecord]]


async def contend(redis: Client, thread: str, count: int, seed: int) -> tuple[Admitted, int]:
    """Admits `count` runs at once. Returns their records by strategy, in the order of admission, and
    the number of rejected runs."""
    choose = random.Random(seed)
    strategies = [choose.choice(list(Strategy)) for _ in range(count)]
    results = await asyncio.gather(
        *(submit(redis, thread, strategy) for strategy in strategies), return_exceptions=True
    )
    admitted = [record for record in results if isinstance(record, runs.RunRecord)]
    rejected = sum(isinstance(result, ConflictError) for result in results)
    assert len(admitted) + rejected == count, results
    admitted.sort(key=lambda record: record.created_at)
    by_strategy: Admitted = {strategy: [] for strategy in Strategy}
    for record in admitted:
        by_strategy[Strategy(record.spec.strategy)].append(record)
    return by_strategy, rejected


def all_of(admitted: Admitted) -> list[str]:
    """Returns the ids of all admitted runs, in the order of admission."""
    records = [record for group in admitted.values() for record in group]
    records.sort(key=lambda record: record.created_at)
    return [record.spec.run_id for record in records]


def last_to_displace(admitted: Admitted) -> tuple[list[str], list[str]]:
    """Returns the last run that displaced others with all runs after it; and the runs before it."""
    everybody = all_of(admitted)
    displacing = [r for strategy in CANCELLING for r in admitted[strategy]]
    last = max(displacing, key=lambda record: record.created_at).spec.run_id
    at = everybody.index(last)
    return everybody[at:], everybody[:at]


@pytest.mark.parametrize("seed", range(5))
async def test_fifty_contenders_behind_a_running_run_keep_their_order(
    real_redis: Client, thread: str, seed: int
) -> None:
    first = (await submit(real_redis, thread)).spec.run_id
    claimed = await claim_due(real_redis, thread, first)
    admitted, rejected = await contend(real_redis, thread, 50, seed)
    assert rejected
    assert not admitted[Strategy.REJECT]
    waits = await waiting(real_redis, thread)
    in_order, displaced = last_to_displace(admitted)
    assert waits == in_order
    assert {await status(real_redis, thread, run) for run in displaced} == {"interrupted", "gone"}

    assert await finish(real_redis, claimed) is RunStatus.INTERRUPTED
    pool = Pool(real_redis)
    await pool.drain()
    assert pool.executed == waits
    assert pool.ended == waits
    assert pool.max_at_once == 1
    assert {await ends(real_redis, thread, run) for run in [first, *waits, *displaced]} == {1}
    assert {await status(real_redis, thread, run) for run in waits} == {"success"}
    assert not await leftovers(real_redis, thread)


@pytest.mark.parametrize("seed", range(3))
async def test_fifty_contenders_without_a_worker_keep_their_order(
    real_redis: Client, thread: str, seed: int
) -> None:
    """Each displacing run ends all pending runs before it at once."""
    await submit(real_redis, thread)
    admitted, _ = await contend(real_redis, thread, 50, seed)
    pool = Pool(real_redis)
    await pool.drain()
    in_order, _ = last_to_displace(admitted)
    assert pool.executed == pool.ended == in_order
    assert pool.max_at_once == 1
    everybody = all_of(admitted)
    assert {await ends(real_redis, thread, run) for run in everybody} == {1}
    left = {await status(real_redis, thread, run) for run in everybody}
    assert left <= {"success", "interrupted", "gone"}
    assert not await leftovers(real_redis, thread)


@pytest.mark.parametrize("seed", range(5))
async def test_fifty_contenders_with_workers_keep_their_order(
    real_redis: Client, thread: str, seed: int
) -> None:
    await submit(real_redis, thread)
    pool = Pool(real_redis)
    (admitted, _), _ = await asyncio.gather(contend(real_redis, thread, 50, seed), pool.drain())
    await pool.drain()
    assert pool.max_at_once == 1
    assert len(set(pool.ended)) == len(pool.ended)
    assert len(set(pool.executed)) == len(pool.executed)
    everybody = all_of(admitted)
    in_order, _ = last_to_displace(admitted)
    assert [run for run in pool.executed if run in in_order] == in_order
    executed = [run for run in pool.executed if run in everybody]
    assert executed == [run for run in everybody if run in executed]
    assert {await ends(real_redis, thread, run) for run in everybody} == {1}
    assert not await leftovers(real_redis, thread)


@pytest.mark.parametrize("action", CancelAction)
async def test_a_stale_worker_writes_nothing_after_a_cancel(
    any_redis: Client, thread: str, action: CancelAction
) -> None:
    run = (await submit(any_redis, thread)).spec.run_id
    stale = await claim(any_redis, thread, run, lease_ms=0)  # its worker dies
    assert stale is not None
    assert await runs.cancel(any_redis, thread, run, action=action, stream_ttl=TTL) == "running"
    fresh = await claim_due(any_redis, thread, run)
    assert (fresh.fence > stale.fence, fresh.cancel) == (True, action.value)

    for refused in (Cause.SUCCEEDED, Cause.CANCELLED, Cause.FAILED):
        with pytest.raises(FencedError):
            await scripts.finish(any_redis, stale.spec, refused, fence=stale.fence, stream_ttl=TTL)
    late = Batch(stale, 1, ["custom", "1"])
    assert await scripts.append(any_redis, [late], max_events=9) == [None]
    with pytest.raises(FencedError):
        await put(any_redis, stale, "late")
    assert not await scripts.hand_back(any_redis, stale)

    assert await finish(any_redis, fresh) is RunStatus.INTERRUPTED
    for claimed in (stale, fresh):  # no worker writes after the end, not even the one that wrote it
        written = await scripts.append(
            any_redis, [Batch(claimed, 9, ["custom", "1"])], max_events=9
        )
        assert written == [None]
        with pytest.raises(FencedError):
            await put(any_redis, claimed, "late")
    assert await ends(any_redis, thread, run) == 1
    assert not [key async for key in any_redis.scan_iter("*checkpoints*")]
    assert not await leftovers(any_redis, thread)


@pytest.mark.parametrize(
    ("action", "refused"), [(CancelAction.INTERRUPT, False), (CancelAction.ROLLBACK, True)]
)
async def test_checkpoints_are_rejected_once_a_rollback_is_requested(
    any_redis: Client, thread: str, action: CancelAction, refused: bool
) -> None:
    run = (await submit(any_redis, thread)).spec.run_id
    claimed = await claim_due(any_redis, thread, run)
    await put(any_redis, claimed, "1")
    await runs.cancel(any_redis, thread, run, action=action, stream_ttl=TTL)
    if refused:
        with pytest.raises(FencedError):
            await put(any_redis, claimed, "2")
    else:
        await put(any_redis, claimed, "2")


async def test_a_handed_back_run_is_rolled_back_by_the_next_worker(
    any_redis: Client, thread: str
) -> None:
    """The run is pending but has checkpoints, which only a worker can roll back."""
    run = (await submit(any_redis, thread)).spec.run_id
    claimed = await claim_due(any_redis, thread, run)
    assert await scripts.hand_back(any_redis, claimed)
    await runs.cancel(any_redis, thread, run, action=CancelAction.ROLLBACK, stream_ttl=TTL)
    assert await status(any_redis, thread, run) == "pending"
    again = await claim_due(any_redis, thread, run)
    assert again.cancel == "rollback"
    assert await finish(any_redis, again, Cause.CANCELLED) is RunStatus.INTERRUPTED
    assert await status(any_redis, thread, run) == "gone"
    assert not await leftovers(any_redis, thread)


@pytest.mark.parametrize("action", CancelAction)
async def test_cancel_and_finish_have_one_winner_in_a_thousand_rounds(
    real_redis: Client, action: CancelAction, record_property: Record
) -> None:
    async def compete(number: int) -> str:
        thread = str(uuid.uuid4())
        run = (await submit(real_redis, thread)).spec.run_id
        claimed = await claim_due(real_redis, thread, run)
        cancelling = runs.cancel(real_redis, thread, run, action=action, stream_ttl=TTL)
        finishing = scripts.finish(
            real_redis, claimed.spec, Cause.SUCCEEDED, fence=claimed.fence, stream_ttl=TTL
        )
        if number % 2:
            before, ended = await asyncio.gather(cancelling, finishing)
        else:
            ended, before = await asyncio.gather(finishing, cancelling)
        if ended is None:  # the cancel won, and the worker ends the run as cancelled
            assert before is RunStatus.RUNNING
            assert await finish(real_redis, claimed, Cause.CANCELLED) is RunStatus.INTERRUPTED
        else:
            assert ended is before is RunStatus.SUCCESS
        assert await ends(real_redis, thread, run) == 1
        left = await status(real_redis, thread, run)
        assert left == ("success" if ended else "interrupted" if action == "interrupt" else "gone")
        return left

    seen: Counter[str] = Counter()
    for start in range(0, 1000, 25):
        seen.update(await asyncio.gather(*(compete(start + number) for number in range(25))))
    record_property("winners", dict(seen))
    assert seen.total() == 1000
    assert len(seen) == 2, seen
    assert await real_redis.scard(keys.live()) == 0  # type: ignore[misc]
    assert await real_redis.zcard(keys.queue("default")) == 0
