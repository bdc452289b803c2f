"""`interrupt` and `rollback` displace every run of the thread that is pending or running, in one step."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from contract.builders import (
    LEASE_MS,
    STREAM_TTL,
    a_spec,
    admit,
    dump,
    end,
    events_of,
    job,
    make_due,
    new_id,
    queued,
    record,
    renew,
    running,
    take,
    thread_of,
    try_claim,
    waiting,
    woken,
    write,
)
from contract.thread_index import assert_index_is_right
from millstream.shared import keys, repair, runs, scripts
from millstream.shared.errors import ConflictError, FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.rules.multitask import WHEN_BUSY, CancelAction, Strategy
from millstream.shared.scripts import Claim
from millstream.shared.threads import new_thread_fields
from millstream.shared.wire import RunSpec

ACTIONS = ["interrupt", "rollback"]
HOOK = b'{"webhook":"http://example.com/hook"}'


@dataclass
class Scene:
    """A thread with one run in each situation, in the order of the queue."""

    thread: str
    runs: list[RunSpec] = field(default_factory=list)
    claim: Claim | None = None  # of the first


async def free(redis: Client, scene: Scene) -> None:
    await scripts.create_thread(redis, scene.thread, new_thread_fields({}))


async def with_a_pending_run(redis: Client, scene: Scene) -> None:
    scene.runs.append(await admit(redis, a_spec(scene.thread)))


async def with_a_running_run(redis: Client, scene: Scene) -> None:
    scene.claim = await running(redis, a_spec(scene.thread))
    scene.runs.append(scene.claim.spec)


async def with_a_lapsed_run(redis: Client, scene: Scene) -> None:
    await with_a_running_run(redis, scene)
    await make_due(redis, scene.runs[-1])


async def with_a_run_handed_back(redis: Client, scene: Scene) -> None:
    await with_a_running_run(redis, scene)
    assert scene.claim is not None
    assert await scripts.hand_back(redis, scene.claim)


FIRST = [free, with_a_pending_run, with_a_running_run, with_a_lapsed_run, with_a_run_handed_back]


async def set_up(
    redis: Client, first: Callable[[Client, Scene], Awaitable[None]], *, others: int = 2
) -> Scene:
    """Creates a first run in a situation, waiting runs behind it, and deferred runs."""
    scene = Scene(new_id())
    await first(redis, scene)
    if scene.runs:
        scene.runs += [await admit(redis, a_spec(scene.thread)) for _ in range(others)]
    later = [
        await admit(redis, a_spec(scene.thread), delay_ms=60_000 + n * 1000) for n in range(others)
    ]
    scene.runs += later
    return scene


async def status(redis: Client, spec: RunSpec) -> str:
    return (await record(redis, spec)).get("status", "gone")


async def positions(redis: Client, specs: list[RunSpec]) -> list[tuple[int, int]]:
    """Returns the positions of all events of the runs, in the order of the runs."""
    positions_found = []
    for spec in specs:
        for name, _ in await redis.xrange(keys.events(spec.thread_id, spec.run_id)):
            segment, index = name.decode().split("-")
            positions_found.append((int(segment), int(index)))
    return positions_found


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("first", FIRST)
async def test_all_runs_are_displaced_in_one_step(
    any_redis: Client, first: Callable[[Client, Scene], Awaitable[None]], action: str
) -> None:
    scene = await set_up(any_redis, first)
    held = first in (with_a_running_run, with_a_lapsed_run) or (
        first is with_a_run_handed_back and action == "rollback"
    )
    newest = await admit(any_redis, a_spec(scene.thread, strategy=action))
    by_worker = scene.runs[:1] if held else []
    ended = scene.runs[len(by_worker) :]

    left = "gone" if action == "rollback" else "interrupted"
    assert [await status(any_redis, spec) for spec in ended] == [left] * len(ended)
    for spec in ended:
        assert (await events_of(any_redis, spec))[-1] == ("end", {"status": "interrupted"})
        assert await try_claim(any_redis, spec) is None
    assert not await any_redis.exists(keys.deferred(scene.thread))
    alive = [*by_worker, newest]
    assert await any_redis.smembers(keys.live()) == {job(s).encode() for s in alive}  # type: ignore[misc]
    assert set(await queued(any_redis)) == {job(alive[0])}
    assert await waiting(any_redis, scene.thread) == [job(s) for s in alive[1:]]
    assert (await thread_of(any_redis, newest))["active"] == alive[0].run_id
    await assert_index_is_right(any_redis)
    ids = await positions(any_redis, [*by_worker, *ended])
    assert ids == sorted(set(ids))  # one after the other, in the order of the queue

    if held:
        assert (await record(any_redis, by_worker[0]))["cancel"] == action
        if first is not with_a_running_run:
            await make_due(any_redis, by_worker[0])
            scene.claim = await take(any_redis, by_worker[0], "w2")
            assert scene.claim.cancel == action
        assert scene.claim is not None
        assert await end(any_redis, scene.claim, Cause.CANCELLED) == "interrupted"
        assert await status(any_redis, by_worker[0]) == left
    assert await end(any_redis, await take(any_redis, newest)) == "success"
    assert (await thread_of(any_redis, newest))["status"] == "idle"
    assert await queued(any_redis) == {}
    assert await any_redis.scard(keys.live()) == 0  # type: ignore[misc]
    await assert_index_is_right(any_redis)
    ids = await positions(any_redis, [*scene.runs, newest])
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("action", ACTIONS)
async def test_of_three_quick_runs_only_the_newest_is_executed(
    any_redis: Client, action: str
) -> None:
    claim = await running(any_redis)
    thread = claim.spec.thread_id
    texts = [await admit(any_redis, a_spec(thread, strategy=action)) for _ in range(3)]
    left = "gone" if action == "rollback" else "interrupted"
    assert [await status(any_redis, spec) for spec in texts] == [left, left, "pending"]
    await end(any_redis, claim, Cause.CANCELLED)
    assert await end(any_redis, await take(any_redis, texts[2])) == "success"
    assert await queued(any_redis) == {}
    assert "active" not in await thread_of(any_redis, claim.spec)


@pytest.mark.parametrize("second", ACTIONS)
@pytest.mark.parametrize("first", ACTIONS)
async def test_the_first_action_stays(any_redis: Client, first: str, second: str) -> None:
    claim = await running(any_redis)
    thread = claim.spec.thread_id
    between = await admit(any_redis, a_spec(thread, strategy=first))
    await admit(any_redis, a_spec(thread, strategy=second))
    await end(any_redis, claim, Cause.CANCELLED)
    for spec, action in ((claim.spec, first), (between, second)):
        left = "gone" if action == "rollback" else "interrupted"
        assert await status(any_redis, spec) == left


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_deferred_run_displaces_at_once(any_redis: Client, action: str) -> None:
    scene = await set_up(any_redis, with_a_pending_run)
    newest = await admit(any_redis, a_spec(scene.thread, strategy=action), delay_ms=60_000)
    assert await any_redis.scard(keys.live()) == 1  # type: ignore[misc]
    thread = await thread_of(any_redis, newest)
    assert ("active" in thread, thread["status"]) == (False, "idle")
    after = await admit(any_redis, a_spec(scene.thread))
    await end(any_redis, await take(any_redis, after))
    await make_due(any_redis, newest)
    await end(any_redis, await take(any_redis, newest))
    assert not await any_redis.exists(keys.deferred(scene.thread))


@pytest.mark.parametrize("delay_ms", [0, 60_000])
@pytest.mark.parametrize("first", FIRST)
async def test_a_deferred_run_makes_reject_fail(
    any_redis: Client, first: Callable[[Client, Scene], Awaitable[None]], delay_ms: int
) -> None:
    scene = await set_up(any_redis, first)
    before = await dump(any_redis)
    with pytest.raises(ConflictError, match="already running"):
        await admit(any_redis, a_spec(scene.thread, strategy="reject"), delay_ms=delay_ms)
    assert await dump(any_redis) == before


async def test_an_ended_deferred_run_no_longer_makes_reject_fail(any_redis: Client) -> None:
    later = await admit(any_redis, delay_ms=60_000)
    await runs.cancel(
        any_redis,
        later.thread_id,
        later.run_id,
        action=CancelAction.INTERRUPT,
        stream_ttl=STREAM_TTL,
    )
    await admit(any_redis, a_spec(later.thread_id, strategy="reject"))


async def test_a_resume_is_admitted_before_a_deferred_run(any_redis: Client) -> None:
    paused = await running(any_redis)
    thread, interrupts = paused.spec.thread_id, b'{"task":[{"id":"i","value":"why?"}]}'
    later = await admit(any_redis, a_spec(thread), delay_ms=60_000)
    await end(any_redis, paused, idle_status="interrupted", interrupts=interrupts)
    answer = a_spec(thread, strategy="reject")
    await scripts.admit(
        any_redis, answer, delay_ms=0, new_thread=None, stream_ttl=STREAM_TTL, answers=interrupts
    )
    await take(any_redis, answer)
    assert await status(any_redis, later) == "pending"


@pytest.mark.parametrize("action", ACTIONS)
async def test_displaced_runs_are_removed_from_their_own_queues(
    any_redis: Client, action: str
) -> None:
    scene = Scene(new_id())
    first = await admit(any_redis, a_spec(scene.thread, queue="other"))
    later = await admit(any_redis, a_spec(scene.thread, queue="third"), delay_ms=60_000)
    newest = await admit(any_redis, a_spec(scene.thread, strategy=action))
    assert await queued(any_redis, "other") == await queued(any_redis, "third") == {}
    assert list(await queued(any_redis)) == await woken(any_redis) == [job(newest)]
    for spec in (first, later):
        assert await try_claim(any_redis, spec) is None
    await any_redis.delete(keys.wake("other"))


@pytest.mark.parametrize("action", ACTIONS)
async def test_displaced_runs_have_the_deliveries_of_cancelled_runs(
    any_redis: Client, action: str
) -> None:
    thread = new_id()
    first = await admit(any_redis, a_spec(thread, kwargs=HOOK))
    second = await admit(any_redis, a_spec(thread, kwargs=HOOK))
    await admit(any_redis, a_spec(thread, strategy=action, kwargs=HOOK))
    assert sorted(await any_redis.zrange(keys.deliveries(), 0, -1)) == sorted(
        job(spec).encode() for spec in (first, second)
    )
    for spec in (first, second):
        delivery = await any_redis.hgetall(keys.delivery(thread, spec.run_id))  # type: ignore[misc]
        assert delivery[b"status"] == b"interrupted"
        assert delivery[b"webhook"] == b"http://example.com/hook"


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_temporary_thread_stays_for_the_displacing_run(
    any_redis: Client, action: str
) -> None:
    first = await admit(any_redis, a_spec(temporary=True))
    thread = first.thread_id
    second = await admit(any_redis, a_spec(thread, temporary=True))
    newest = await admit(any_redis, a_spec(thread, temporary=True, strategy=action))
    for spec in (first, second):
        assert await status(any_redis, spec) == ("gone" if action == "rollback" else "interrupted")
        assert await any_redis.ttl(keys.run(thread, spec.run_id)) != -1
    assert await any_redis.zrange(keys.runs(thread), 0, -1) == [newest.run_id.encode()]
    await end(any_redis, await take(any_redis, newest))
    assert not await any_redis.exists(keys.thread(thread))


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_invalid_run_ref_or_one_without_a_record_is_dropped(
    any_redis: Client, action: str
) -> None:
    first = await admit(any_redis)
    lost = await admit(any_redis, a_spec(first.thread_id))
    await any_redis.rpush(keys.waiting(first.thread_id), "junk")  # type: ignore[misc]
    await any_redis.delete(keys.run(lost.thread_id, lost.run_id))
    newest = await admit(any_redis, a_spec(first.thread_id, strategy=action))
    assert await waiting(any_redis, first.thread_id) == []
    assert await status(any_redis, lost) == "gone"
    await take(any_redis, newest)


# ── stale workers ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("after", ["handed back", "overtaken"])
async def test_a_stale_worker_of_a_displaced_run_changes_nothing(
    any_redis: Client, action: str, after: str
) -> None:
    stale = await running(any_redis)
    if after == "handed back":
        assert await scripts.hand_back(any_redis, stale)
    else:
        await make_due(any_redis, stale.spec)
        await take(any_redis, stale.spec, "w2")
    newest = await admit(any_redis, a_spec(stale.spec.thread_id, strategy=action))
    before = await dump(any_redis)
    assert not await write(any_redis, stale, 1, "values", "{}")
    assert await renew(any_redis, stale) == "lost"
    assert not await scripts.hand_back(any_redis, stale)
    for cause in (Cause.SUCCEEDED, Cause.CANCELLED, Cause.FAILED):
        with contextlib.suppress(FencedError):
            assert await end(any_redis, stale, cause, error=b"{}") is None
    assert await dump(any_redis) == before
    assert await status(any_redis, newest) == "pending"


async def test_a_deferred_run_missing_from_its_thread_is_added_again(any_redis: Client) -> None:
    later = await admit(any_redis, delay_ms=60_000)
    await any_redis.delete(keys.deferred(later.thread_id))
    done = await repair.repair_runs(any_redis, lease_ms=LEASE_MS, stream_ttl=STREAM_TTL)
    assert done == {"queued": 1}
    await admit(any_redis, a_spec(later.thread_id, strategy="interrupt"))
    assert await status(any_redis, later) == "interrupted"


@pytest.mark.parametrize("strategy", Strategy)
async def test_the_others_get_the_cancel_of_the_table_or_none(
    any_redis: Client, strategy: Strategy
) -> None:
    held = (await running(any_redis)).spec
    with contextlib.suppress(ConflictError):
        await admit(any_redis, a_spec(held.thread_id, strategy=strategy))
    action = await runs.cancel_action(any_redis, held.thread_id, held.run_id)
    assert action is WHEN_BUSY[strategy].cancel


async def test_of_fifty_contenders_that_displace_the_newest_is_left(any_redis: Client) -> None:
    held = await running(any_redis)
    thread = held.spec.thread_id
    specs = [a_spec(thread, strategy=ACTIONS[number % 2]) for number in range(50)]
    await asyncio.gather(*(admit(any_redis, spec) for spec in specs))
    [newest] = await waiting(any_redis, thread)
    for spec in specs:
        if job(spec) != newest:
            assert await status(any_redis, spec) in ("interrupted", "gone")
    noted = await record(any_redis, held.spec)
    assert noted["cancel"] in set(CancelAction)
    assert await end(any_redis, held) is None
    assert await end(any_redis, held, Cause.CANCELLED) is not None
    assert (await queued(any_redis)).keys() == {newest}
    assert await woken(any_redis) == [job(held.spec), newest]
    await assert_index_is_right(any_redis)
