"""The index of threads agrees with their records, under concurrent changes."""

import asyncio
import random
import sys
from typing import Any

import pytest

from contract.builders import (
    a_spec,
    admit,
    dump,
    end,
    make_due,
    new_id,
    overtaken,
    running,
    take,
    try_claim,
)  # fmt: skip
from contract.thread_index import LARGE, assert_index_is_right
from millstream.shared import keys, scripts, threads
from millstream.shared.errors import FencedError, MillstreamError, NotFoundError, TooLargeError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, ThreadStatus
from millstream.shared.scripts.threads.patch_thread import SCRIPT, arguments
from millstream.shared.threads import search as thread_search
from millstream.shared.threads.search import ThreadFilter


async def a_thread(redis: Client, metadata: dict[str, Any]) -> str:
    return (await threads.create_thread(redis, None, metadata, if_exists="raise")).thread_id


async def thread_ids(redis: Client, **query: Any) -> list[str]:
    page = await thread_search.search(redis, ThreadFilter(**query), limit=1000, offset=0)
    assert page.total == len(page.records)
    assert not page.more
    assert await thread_search.count(redis, ThreadFilter(**query)) == page.total
    return [record.thread_id for record in page.records]


async def show_values(redis: Client, thread: str, values: bytes) -> None:
    await redis.hset(keys.thread(thread), mapping={"values": values})  # type: ignore[misc]


def in_steps(monkeypatch: pytest.MonkeyPatch, few: int, chunk: int, limit: int) -> None:
    """Limits the number of members that the script reads at a time."""
    module = sys.modules["millstream.shared.scripts.threads.find_threads"]
    for name, number in (("SMALL_SET", few), ("CHUNK", chunk), ("MAX_SCANNED", limit)):
        monkeypatch.setattr(module, name, number)


async def test_a_run_moves_its_thread_between_the_status_sets(any_redis: Client) -> None:
    thread = await a_thread(any_redis, {"who": "me", "graph_id": "old"})
    assert await thread_ids(any_redis, metadata={"graph_id": "old"}) == [thread]
    claim = await running(any_redis, a_spec(thread))
    await assert_index_is_right(any_redis)
    assert await thread_ids(any_redis, metadata={"graph_id": "old"}) == []
    assert await thread_ids(any_redis, status=ThreadStatus.BUSY, metadata={"graph_id": "echo"}) == [
        thread
    ]
    await end(any_redis, claim, idle_status="interrupted")
    await assert_index_is_right(any_redis)
    assert await thread_ids(any_redis, status=ThreadStatus.INTERRUPTED) == [thread]
    copy = await threads.copy_thread(any_redis, thread)
    await assert_index_is_right(any_redis)
    assert await thread_ids(any_redis, metadata={"who": "me"}) == [copy.thread_id, thread]
    await threads.retire_thread(any_redis, thread)
    assert await thread_ids(any_redis, metadata={"who": "me"}) == [copy.thread_id]
    assert await threads.delete_thread(any_redis, thread)
    assert await assert_index_is_right(any_redis) == 1


async def test_temporary_threads_are_not_listed(any_redis: Client) -> None:
    claim = await running(any_redis, a_spec(temporary=True))
    assert await assert_index_is_right(any_redis) == 0
    await end(any_redis, claim)
    assert await assert_index_is_right(any_redis) == 0


async def test_a_repaired_thread_is_in_the_set_of_its_status(any_redis: Client) -> None:
    claim = await running(any_redis)
    thread = claim.spec.thread_id
    await any_redis.delete(keys.run(thread, claim.spec.run_id))
    assert await scripts.repair_thread(any_redis, thread) == "released"
    await assert_index_is_right(any_redis)
    assert await thread_ids(any_redis, status=ThreadStatus.IDLE) == [thread]


async def test_a_stale_worker_changes_no_set(any_redis: Client) -> None:
    old, new = await overtaken(any_redis)
    await end(any_redis, new)
    before = await dump(any_redis)
    with pytest.raises(FencedError):
        await end(any_redis, old, Cause.FAILED, idle_status="error")
    assert await dump(any_redis) == before
    await assert_index_is_right(any_redis)


# ── Patches ─────────────────────────────────────────────────────────────────────────────────


async def test_a_patch_merges_the_top_level_of_metadata(any_redis: Client) -> None:
    thread = await a_thread(any_redis, {"a": {"b": 1}, "keep": True})
    await threads.patch_thread(any_redis, thread, {"a": {"c": [1]}, "d": None}, None)
    record = await threads.get_thread(any_redis, thread)
    assert record.metadata == {"a": {"c": [1]}, "keep": True, "d": None}
    assert record.updated_at > record.created_at == record.state_updated_at
    assert record.ttl is None
    await threads.patch_thread(any_redis, thread, {}, threads.Ttl(60_000, "keep_latest"))
    record = await threads.get_thread(any_redis, thread)
    assert record.ttl == threads.Ttl(60_000, "keep_latest")
    assert await threads.expires_at(any_redis, thread) is not None
    await assert_index_is_right(any_redis)


async def test_a_missing_thread_or_too_much_metadata_is_not_patched(any_redis: Client) -> None:
    with pytest.raises(NotFoundError):
        await threads.patch_thread(any_redis, new_id(), {"a": 1}, None)
    assert await dump(any_redis) == {}
    thread = await a_thread(any_redis, {})
    before = await dump(any_redis)
    with pytest.raises(TooLargeError, match="metadata"):
        await threads.patch_thread(any_redis, thread, {"a": "x" * threads.MAX_METADATA_BYTES}, None)
    assert await dump(any_redis) == before
    await threads.retire_thread(any_redis, thread)
    before = await dump(any_redis)
    with pytest.raises(NotFoundError):
        await threads.patch_thread(any_redis, thread, {"a": 1}, None)
    assert await dump(any_redis) == before


async def test_a_patch_repeated_after_a_lost_reply_has_the_same_result(any_redis: Client) -> None:
    thread = await a_thread(any_redis, {"a": 1})
    values = arguments(thread, "t1", b'{"a":1}', had_run=False, fields={"metadata": "{}"})
    assert await SCRIPT(any_redis, **values) == b"patched"
    before = await dump(any_redis)
    assert await SCRIPT(any_redis, **values) == b"patched"
    values = arguments(thread, "t2", b'{"a":1}', had_run=False, fields={"metadata": "{}"})
    assert await SCRIPT(any_redis, **values) == b"changed"
    assert await dump(any_redis) == before
    await threads.retire_thread(any_redis, thread)


async def test_none_of_fifty_patches_is_lost(any_redis: Client) -> None:
    thread = await a_thread(any_redis, {"n": -1})
    await asyncio.gather(
        *(threads.patch_thread(any_redis, thread, {f"k{n}": n, "n": n}, None) for n in range(50))
    )
    metadata = (await threads.get_thread(any_redis, thread)).metadata
    assert metadata == {**{f"k{n}": n for n in range(50)}, "n": metadata["n"]}
    await assert_index_is_right(any_redis)


async def test_the_index_is_right_after_fifty_patches_finishes_and_deletions(
    any_redis: Client,
) -> None:
    claims = [await running(any_redis, a_spec(await a_thread(any_redis, {"n": 0}))) for _ in "123"]
    stays, goes, large = (claim.spec.thread_id for claim in claims)

    async def contend(number: int) -> None:
        try:
            match number % 5:
                case 0:
                    thread = [stays, goes, large][number % 3]
                    await threads.patch_thread(any_redis, thread, {"n": number}, None)
                case 1:
                    await end(any_redis, claims[number % 3], idle_status="error")
                case 2:
                    await threads.retire_thread(any_redis, goes)
                    await threads.delete_thread(any_redis, goes)
                case 3:
                    await threads.patch_thread(
                        any_redis, large, LARGE if number % 2 else {"graph_id": number}, None
                    )
                case 4:
                    spec = await admit(any_redis, a_spec(stays, graph_id=f"g{number}"))
                    if claim := await try_claim(any_redis, spec):
                        await end(any_redis, claim)
        except MillstreamError:
            pass

    await asyncio.gather(*(contend(number) for number in range(50)))
    assert await assert_index_is_right(any_redis) == 2
    await end(any_redis, claims[1])
    assert await threads.delete_thread(any_redis, goes) or not await any_redis.exists(
        keys.thread(goes)
    )
    await assert_index_is_right(any_redis)
    assert await thread_ids(any_redis, metadata={"key 7": 7}) == [large]


# ── Searches ────────────────────────────────────────────────────────────────────────────────

WHOLE: list[dict[str, Any]] = [
    {}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}, {"a": {"b": {"c": "x"}}},
    {"a": [1, {"b": 2, "c": 3}]}, {"a": 1, "b": "x"}, {"a.b": 1}, {"a": {"b": 1}}, {"a": {}},
    {"a": []}, LARGE, {**LARGE, "a": 1}, {"a": 2**63}, {"a": 1e300}, {"": "\u2028"},
]  # fmt: skip
PARTS: list[tuple[dict[str, Any], set[int]]] = [
    ({}, set(range(len(WHOLE)))),
    ({"a": 1}, {1, 2, 8, 14}),
    ({"a": 1.0}, {1, 2, 8, 14}),
    ({"a": True}, {3}),
    ({"a": "1"}, {4}),
    ({"a": None}, {5}),
    ({"a": {"b": {"c": "x"}}}, {6}),
    ({"a": {}}, {6, 10, 11}),
    ({"a": []}, {7, 12}),
    ({"a": [{"c": 3}]}, {7}),
    ({"a": [1]}, {7}),
    ({"a": 1, "b": "x"}, {8}),
    ({"a": {"b": 1}}, {10}),
    ({"a.b": 1}, {9}),
    (LARGE, {13, 14}),
    ({"key 3": 3, "a": 1}, {14}),
    ({"a": 2**63}, {15}),
    ({"a": 1e300}, {16}),
    ({"": "\u2028"}, {17}),
    ({"b": 1}, set()),
]


@pytest.mark.parametrize("few", [1000, 0])
async def test_metadata_is_matched_by_containment(
    any_redis: Client, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_steps(monkeypatch, few, 4, 8)
    ids = [await a_thread(any_redis, metadata) for metadata in WHOLE]
    await assert_index_is_right(any_redis)
    for part, fitting in PARTS:
        expected = [ids[number] for number in sorted(fitting, reverse=True)]
        assert await thread_ids(any_redis, metadata=part) == expected, part
        assert await thread_ids(any_redis, metadata=part, ids=ids) == expected, part
        assert await thread_ids(any_redis, metadata=part, ids=ids[:1]) == expected[-1:] * (
            0 in fitting
        )
    for thread in ids:
        await threads.retire_thread(any_redis, thread)
    assert await assert_index_is_right(any_redis) == 0


@pytest.mark.parametrize("few", [1000, 3])
async def test_pages_are_slices_of_all_matches(
    any_redis: Client, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_steps(monkeypatch, few, 5, 10)
    dice = random.Random(7)
    created = [
        await a_thread(any_redis, {"half": n % 2, "third": {"n": n % 3}, "list": [n % 4]})
        for n in range(40)
    ]
    for n, thread in enumerate(dice.sample(created, 12)):
        await show_values(any_redis, thread, b'{"v":[%d]}' % (n % 2))
        claim = await running(any_redis, a_spec(thread))
        if n % 3:
            await end(any_redis, claim, idle_status=["idle", "interrupted", "error"][n % 3])
    await assert_index_is_right(any_redis)
    records = [await threads.get_thread(any_redis, thread) for thread in created]
    queries: list[tuple[dict[str, Any], Any]] = [
        ({}, lambda r: True),
        ({"metadata": {"half": 1}}, lambda r: r.metadata["half"] == 1),
        ({"status": ThreadStatus.BUSY}, lambda r: r.status == "busy"),
        ({"status": ThreadStatus.IDLE, "metadata": {"half": 0, "third": {"n": 2}}},
         lambda r: r.status == "idle" and r.metadata["half"] == 0 and r.metadata["third"]["n"] == 2),
        ({"metadata": {"list": [3]}}, lambda r: r.metadata["list"] == [3]),
        ({"values": {"v": [1]}}, lambda r: r.values == b'{"v":[1]}'),
        ({"ids": created[5:25]}, lambda r: r.thread_id in created[5:25]),
    ]  # fmt: skip
    for fields, fits in queries:
        for sort_by in ("created_at", "updated_at", "state_updated_at", "thread_id", "status"):
            for descending in (True, False):
                fitting = sorted(
                    (record for record in records if fits(record)),
                    key=lambda r: (getattr(r, sort_by), r.created_at),
                    reverse=descending,
                )
                filter_ = ThreadFilter(**fields, sort_by=sort_by, descending=descending)
                offset, limit = dice.choice([(0, 40), (3, 5), (0, 1), (10, 10), (39, 5), (50, 3)])
                page = await thread_search.search(
                    any_redis, filter_, limit=limit, offset=offset, with_state=False
                )
                expected = fitting[offset : offset + limit]
                assert [r.thread_id for r in page.records] == [r.thread_id for r in expected], (
                    filter_
                )
                assert page.more is (offset + limit < len(fitting))
                at_least = offset + limit + 1 if page.more else len(fitting)
                assert page.total in (len(fitting), at_least)
        assert await thread_search.count(any_redis, ThreadFilter(**fields)) == len(
            [record for record in records if fits(record)]
        )


async def test_a_page_with_too_large_values_is_shortened(
    any_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.shared.threads.search.MAX_PAGE_BYTES", 100)
    thread = await a_thread(any_redis, {})
    await show_values(any_redis, thread, b'"%s"' % (b"x" * 100))
    with pytest.raises(TooLargeError, match="select"):
        await thread_ids(any_redis)
    page = await thread_search.search(
        any_redis, ThreadFilter(), limit=1, offset=0, with_state=False
    )
    assert page.total == 1


async def test_a_thread_stays_busy_after_its_lease_lapsed(any_redis: Client) -> None:
    claim = await running(any_redis)
    await make_due(any_redis, claim.spec)
    await take(any_redis, claim.spec, "w2")
    assert await thread_ids(any_redis, status=ThreadStatus.BUSY) == [claim.spec.thread_id]
    await assert_index_is_right(any_redis)
