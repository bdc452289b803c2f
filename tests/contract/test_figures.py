"""The figures of queues follow every step of a run, by the times at which runs became due."""

import asyncio

import pytest

from contract.builders import (
    LEASE_MS,
    a_spec,
    admit,
    end,
    end_pending,
    job,
    make_due,
    new_id,
    overtaken,
    running,
    take,
    try_claim,
)
from harness.workers import report_worker
from millstream.shared import keys, repair, scripts, workers
from millstream.shared.figures import HEAD, FiguresCache, QueueFigures, read_figures
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Claim
from millstream.shared.wire import RunSpec, SlotRecord, WorkerRecord

MINUTE_MS = 60_000


@pytest.fixture
async def served(any_redis: Client) -> Client:
    """A Redis with one worker on the queue `default`."""
    await report_worker(any_redis, "w1", "default", ttl=30)
    return any_redis


async def figures(redis: Client) -> QueueFigures:
    return (await read_figures(redis)).queues["default"]


async def counts(redis: Client) -> tuple[int, int, int, int]:
    """Returns due, deferred, running, unserved."""
    state = await figures(redis)
    return state.due, state.deferred, state.running, state.unserved


async def has_been_due(redis: Client, spec: RunSpec, ms: float) -> None:
    """Moves a due run into the past, in the queue and in the backlog."""
    since = await redis_time(redis) * 1000 - ms
    await redis.zadd(keys.queue(spec.queue), {job(spec): since})
    await redis.zadd(keys.backlog(spec.queue), {job(spec): since})


async def test_each_step_of_a_run_changes_its_queues_figures(served: Client) -> None:
    assert await counts(served) == (0, 0, 0, 0)
    spec = await admit(served)
    assert await counts(served) == (1, 0, 0, 0)
    claim = await take(served, spec)
    assert await counts(served) == (0, 0, 1, 0)
    await scripts.hand_back(served, claim)
    assert await counts(served) == (1, 0, 0, 0)
    await end(served, await take(served, spec))
    assert await counts(served) == (0, 0, 0, 0)


async def test_a_deferred_run_is_due_later(served: Client) -> None:
    spec = await admit(served, delay_ms=MINUTE_MS)
    assert await counts(served) == (0, 1, 0, 0)
    await has_been_due(served, spec, 5000)
    assert await counts(served) == (1, 0, 0, 0)
    assert 5 <= (await figures(served)).oldest_due_age < 6


async def test_a_run_that_waits_for_its_thread_is_in_no_queue(served: Client) -> None:
    thread = new_id()
    first = await running(served, a_spec(thread))
    second = await admit(served, a_spec(thread))
    assert await counts(served) == (0, 0, 1, 0)
    assert (await read_figures(served)).waiting == 1
    await end(served, first)
    assert await counts(served) == (1, 0, 0, 0)
    assert (await read_figures(served)).waiting == 0
    await end(served, await take(served, second))


async def test_a_deferred_run_that_meets_a_busy_thread_is_queued_no_more(served: Client) -> None:
    thread = new_id()
    later = await admit(served, a_spec(thread), delay_ms=MINUTE_MS)
    await running(served, a_spec(thread))
    await has_been_due(served, later, 1)
    assert await try_claim(served, later) is None
    assert await counts(served) == (0, 0, 1, 0)
    assert (await read_figures(served)).waiting == 1


@pytest.mark.parametrize("delay_ms", [0, MINUTE_MS])
async def test_a_cancelled_run_counts_no_more(served: Client, delay_ms: int) -> None:
    spec = await admit(served, delay_ms=delay_ms)
    assert await end_pending(served, spec) == "interrupted"
    assert await counts(served) == (0, 0, 0, 0)


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_displaced_runs_count_no_more(served: Client, strategy: str) -> None:
    thread = new_id()
    await admit(served, a_spec(thread), delay_ms=MINUTE_MS)
    await admit(served, a_spec(thread))
    await admit(served, a_spec(thread))
    assert await counts(served) == (1, 1, 0, 0)
    await admit(served, a_spec(thread, strategy=strategy))
    assert await counts(served) == (1, 0, 0, 0)
    assert (await read_figures(served)).waiting == 0


async def test_the_age_is_that_of_the_run_which_was_due_first(served: Client) -> None:
    assert (await figures(served)).oldest_due_age == 0
    for seconds in (3, 40, 20):
        await has_been_due(served, await admit(served), seconds * 1000)
    await admit(served, delay_ms=MINUTE_MS)
    assert 40 <= (await figures(served)).oldest_due_age < 42


async def test_an_unserved_run_keeps_its_age_and_is_not_due(served: Client) -> None:
    spec = await admit(served)
    await has_been_due(served, spec, 50_000)
    for _ in range(3):  # each try raises the run's score in the queue
        await served.zadd(keys.queue(spec.queue), {job(spec): 1})
        assert await try_claim(served, spec, graphs=["other"]) is None
    await served.zadd(keys.queue(spec.queue), {job(spec): 1})  # its pause is over
    state = await figures(served)
    assert (state.due, state.unserved, state.in_flight, state.oldest_due_age) == (0, 1, 0, 0)
    assert 50 <= state.oldest_unserved_age < 52
    claim = await take(served, spec)
    assert 50_000 <= claim.waited_ms < 52_000
    assert await counts(served) == (0, 0, 1, 0)
    await end(served, claim)
    assert await counts(served) == (0, 0, 0, 0)


async def test_the_oldest_of_the_unserved_runs_counts(served: Client) -> None:
    for seconds in (5, 30, 10):
        spec = await admit(served)
        await has_been_due(served, spec, seconds * 1000)
        assert await try_claim(served, spec, graphs=["other"]) is None
    assert 30 <= (await figures(served)).oldest_unserved_age < 32


async def test_a_lapsed_lease_is_due_since_it_lapsed(served: Client) -> None:
    claim = await running(served)
    lapsed = await redis_time(served) * 1000 - 7000
    await served.zadd(keys.queue("default"), {claim.job: lapsed})
    await has_been_due(served, await admit(served), 2000)
    state = await figures(served)
    assert (state.due, state.running) == (1, 1)
    assert 7 <= state.oldest_due_age < 9
    await has_been_due(served, await admit(served), 20_000)
    assert 20 <= (await figures(served)).oldest_due_age < 22


async def test_unserved_runs_hide_no_lapsed_lease(served: Client) -> None:
    claim = await running(served)
    for _ in range(HEAD - 1):
        spec = await admit(served)
        assert await try_claim(served, spec, graphs=["other"]) is None
        await served.zadd(keys.queue(spec.queue), {job(spec): 1})
    lapsed = await redis_time(served) * 1000 - 7000
    await served.zadd(keys.queue("default"), {claim.job: lapsed})
    assert 7 <= (await figures(served)).oldest_due_age < 9


async def test_a_stale_worker_changes_no_figure(served: Client) -> None:
    old, new = await overtaken(served)
    assert not await scripts.hand_back(served, old)
    assert await counts(served) == (0, 0, 1, 0)
    await end(served, new)
    assert await counts(served) == (0, 0, 0, 0)


async def test_figures_are_right_after_fifty_contenders(served: Client) -> None:
    """Claims, cancels, handing back and displacing admissions, all at once."""
    for _ in range(5):
        thread = new_id()
        spec = await admit(served, a_spec(thread))
        claim = await take(served, await admit(served))

        async def step(
            number: int, spec: RunSpec = spec, thread: str = thread, claim: Claim = claim
        ) -> object:
            match number % 5:
                case 0:
                    return await try_claim(served, spec, f"w{number}")
                case 1:
                    return await scripts.hand_back(served, claim)
                case 2:
                    return await end_pending(served, spec)
                case 3:
                    return await try_claim(served, claim.spec, f"w{number}")
            return await admit(served, a_spec(thread, strategy="interrupt"))

        await asyncio.gather(*(step(number) for number in range(50)))
    assert await is_consistent(served)


async def is_consistent(redis: Client) -> bool:
    """Compares the backlog with the records of all runs that are in the queue."""
    queued = await redis.zrange(keys.queue("default"), 0, -1)
    pending = set()
    for member in queued:
        status = await redis.hget(keys.run(*keys.parse_job_id(member.decode())), "status")  # type: ignore[misc]
        if status == b"pending":
            pending.add(member)
    return set(await redis.zrange(keys.backlog("default"), 0, -1)) == pending


async def test_the_reaper_lists_runs_as_their_status_says(served: Client) -> None:
    """A worker of an earlier version lists none, and removes none."""
    due, later = await admit(served), await admit(served, delay_ms=MINUTE_MS)
    held, ended = await running(served), await running(served)
    await end(served, ended)
    await served.delete(keys.backlog("default"))
    await served.zadd(keys.backlog("default"), {held.job: 5, ended.job: 6, "junk": 7})
    repaired = await repair.repair_runs(served, lease_ms=LEASE_MS, stream_ttl=60)
    repaired += await repair.repair_backlogs(served, lease_ms=LEASE_MS, stream_ttl=60)
    assert repaired == {"listed": 3, "ended": 1, "dropped": 1}
    assert await counts(served) == (1, 1, 1, 0)
    assert {job(due), job(later)} == {
        member.decode() for member in await served.zrange(keys.backlog("default"), 0, -1)
    }
    assert not await repair.repair_runs(served, lease_ms=LEASE_MS, stream_ttl=60)
    assert not await repair.repair_backlogs(served, lease_ms=LEASE_MS, stream_ttl=60)


async def test_the_reaper_changes_no_unserved_run(served: Client) -> None:
    claim = await running(served)
    await make_due(served, claim.spec)
    assert await try_claim(served, claim.spec, "w2", graphs=["other"]) is None
    assert await try_claim(served, await admit(served), graphs=["other"]) is None
    assert await counts(served) == (0, 0, 0, 2)
    assert not await repair.repair_runs(served, lease_ms=LEASE_MS, stream_ttl=60)
    assert await counts(served) == (0, 0, 0, 2)
    await end(served, claim)  # its holder was alive after all
    assert await counts(served) == (0, 0, 0, 1)


async def test_workers_are_live_lost_or_gone(any_redis: Client) -> None:
    await report_worker(any_redis, "w1", "default", ttl=30)
    await report_worker(any_redis, "w2", "default", ttl=-1)
    await report_worker(any_redis, "w3", "other", ttl=30)
    state = await figures(any_redis)
    assert (state.workers, state.lost_workers) == (1, 1)
    await workers.leave(any_redis, WorkerRecord(worker_id="w1", queues=["default"]), [])
    state = await figures(any_redis)
    assert (state.workers, state.lost_workers) == (0, 1)
    assert (await read_figures(any_redis)).total.workers == 1
    await any_redis.delete(keys.queue_workers("other"))


async def test_slots_are_those_of_live_workers(any_redis: Client) -> None:
    runs = [
        SlotRecord(
            thread_id="t", run_id=f"r{n}", graph_id="g", attempt=1, since=1, isolation="shared"
        )
        for n in range(3)
    ]
    await report_worker(any_redis, "w1", "default", slots=10, runs=runs)
    await report_worker(any_redis, "w2", "default", "other", slots=4, runs=runs[:1])
    await report_worker(any_redis, "w3", "default", slots=7, runs=runs, draining_since=5)
    await report_worker(any_redis, "w4", "default", slots=7, runs=runs, ttl=-1)
    state = await read_figures(any_redis)

    def workers_and_slots(each: QueueFigures) -> tuple[int, ...]:
        return (
            each.workers, each.draining_workers, each.lost_workers, each.slots, each.busy_slots
        )  # fmt: skip

    assert workers_and_slots(state.queues["default"]) == (2, 1, 1, 14, 4)
    assert workers_and_slots(state.queues["other"]) == (1, 0, 0, 4, 1)
    assert workers_and_slots(state.total) == (2, 1, 1, 14, 4)  # w2 counts once
    await any_redis.delete(keys.queue_workers("other"))


async def test_the_median_age_is_that_of_the_due_runs_alone(served: Client) -> None:
    assert (await figures(served)).median_due_age == 0
    await admit(served, delay_ms=MINUTE_MS)
    lacks_its_graph = await admit(served, a_spec(graph_id="missing"))
    await has_been_due(served, lacks_its_graph, 50_000)
    assert await try_claim(served, lacks_its_graph, graphs=["other"]) is None
    assert (await figures(served)).median_due_age == 0
    for seconds in (1, 20, 30):
        await has_been_due(served, await admit(served), seconds * 1000)
    state = await figures(served)
    assert (state.due, state.deferred, state.unserved) == (3, 1, 1)
    assert 20 <= state.median_due_age < 21
    assert 20 <= (await read_figures(served)).total.median_due_age < 21


async def test_a_total_has_sums_and_the_maximum_age() -> None:
    one = QueueFigures(due=1, running=2, oldest_due_age=5, workers=1)
    two = QueueFigures(due=3, unserved=4, oldest_due_age=2, oldest_unserved_age=9)
    assert one + two == QueueFigures(4, 0, 2, 4, 5, 9, 1, 0)
    assert (one + two).in_flight == 6


async def test_ten_thousand_runs_cost_no_more_commands_than_none(real_redis: Client) -> None:
    await report_worker(real_redis, "w1", "default", ttl=30)
    empty = await commands_of_a_read(real_redis)
    now_ms = await redis_time(real_redis) * 1000
    jobs = {f"t{n}/r{n}": now_ms - n for n in range(10_000)}
    await real_redis.zadd(keys.queue("default"), jobs)
    await real_redis.zadd(keys.backlog("default"), jobs)
    await real_redis.sadd(keys.live(), *jobs)  # type: ignore[misc]
    full = await commands_of_a_read(real_redis)
    assert full.pop("zmscore") == 1  # of at most HEAD jobs
    assert full == empty
    assert (await figures(real_redis)).due == 10_000


async def commands_of_a_read(redis: Client) -> dict[str, int]:
    """Returns how often each command was executed for one read of all figures: the least of five reads.

    Processes of other tests may send commands to the same server.
    """
    reads = []
    for _ in range(5):
        await redis.config_resetstat()
        await read_figures(redis)
        stats = await redis.info("commandstats")
        del stats["cmdstat_config|resetstat"]
        reads.append(
            {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()}
        )
    return min(reads, key=lambda counts: sum(counts.values()))


async def test_a_process_reads_once_for_many_and_again_when_it_is_old(
    real_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await report_worker(real_redis, "w1", "default", ttl=30)
    cache = FiguresCache(real_redis)
    first, *others = await asyncio.gather(*(cache.read() for _ in range(50)))
    assert all(each is first for each in others)
    monkeypatch.setattr("millstream.shared.figures.CACHE_SECONDS", 0)
    await admit(real_redis)
    assert (await cache.read()).total.due == 1


async def test_deliveries_crons_threads_and_memory_are_read(real_redis: Client) -> None:
    now_ms = await redis_time(real_redis) * 1000
    await real_redis.zadd(keys.deliveries(), {"t/r": now_ms - 4000, "t/s": now_ms + 4000})
    await real_redis.zadd(keys.crons(), {"c": float("inf")})
    await real_redis.sadd(keys.threads_of("busy"), "t")  # type: ignore[misc]
    state = await read_figures(real_redis)
    assert state.webhooks.due == 1
    assert 4 <= state.webhooks.oldest_age < 6
    assert (state.crons.due, state.crons.oldest_age) == (0, 0)
    assert state.threads["busy"] == 1
    assert state.memory["used_memory"] > 0
    assert {"maxmemory", "evicted_keys"} <= state.memory.keys()
    await real_redis.delete(keys.crons(), keys.deliveries())


async def test_a_cancel_of_a_held_run_changes_no_figure(served: Client) -> None:
    claim = await running(served)
    await scripts.cancel(served, claim.spec.thread_id, claim.spec.run_id, CancelAction.INTERRUPT)
    assert await counts(served) == (0, 0, 1, 0)
