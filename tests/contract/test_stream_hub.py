"""Each reader of a hub gets every event of its run once, in order, to the end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from contract.builders import (
    EVENTS_TTL,
    STREAM_TTL,
    a_spec,
    admit,
    end,
    end_pending,
    new_id,
    running,
    take,
    write,
)
from contract.stream_readers import (
    all_of,
    hub_connections,
    names_of,
    numbers_of,
    read_nothing,
    read_some,
    read_to_end,
    running_hub,
    write_numbers,
)
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, scripts
from millstream.shared.events.entries import START, Position, parse_position
from millstream.shared.events.hub import StreamHub
from millstream.shared.events.pages import PAGE_ENTRIES
from millstream.shared.events.reader import Reader
from millstream.shared.events.tail import WINDOW_BYTES, WINDOW_ENTRIES
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.scripts import Batch, Claim


@pytest.fixture
async def hub(redis_server: EmbeddedRedis, real_redis: Client) -> AsyncIterator[StreamHub]:
    """A started hub on the database of `real_redis`."""
    async with running_hub(redis_server.url.rpartition("/")[0] + "/1") as hub:
        yield hub


async def follow(
    hub: StreamHub, claim: Claim, after: Position | None = START, *, fresh: bool = False
) -> Reader:
    return await hub.open(claim.spec.thread_id, claim.spec.run_id, after, fresh=fresh)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("0-0", (0, 0)),
        ("1700000000000-12", (1_700_000_000_000, 12)),
        (" 5-1\n", (5, 1)),
        ("9999999999999999999-0", (9_999_999_999_999_999_999, 0)),
        ("", None),
        ("5", None),
        ("5-", None),
        ("-1", None),
        ("5-x", None),
        ("5-1-2", None),
        ("+5-1", None),
        ("5--1", None),
        ("\u0665-1", None),
        ("10000000000000000000-0", None),
        ("0-10000000000000000000", None),
    ],
)
def test_an_event_id_is_a_position_or_malformed(text: str, position: Position | None) -> None:
    assert parse_position(text) == position


async def test_an_ended_run_is_replayed_from_the_start(hub: StreamHub, real_redis: Client) -> None:
    claim = await running(real_redis)
    await write_numbers(real_redis, claim, range(5))
    await end(real_redis, claim, output=b'{"o":1}')
    reader = await follow(hub, claim)
    entries = await read_to_end(reader)
    assert names_of(entries) == [b"metadata", *[b"values"] * 5, b"end"]
    assert numbers_of(entries) == list(range(5))
    assert [entry.output for entry in entries] == [None] * 6 + [b'{"o":1}']
    stored = await real_redis.xrange(keys.events(claim.spec.thread_id, claim.spec.run_id))
    assert [entry.id for entry in entries] == [id for id, _ in stored]
    reader.close()


async def test_a_replay_starts_after_the_given_id(hub: StreamHub, real_redis: Client) -> None:
    claim = await running(real_redis)
    await write_numbers(real_redis, claim, range(5))
    await end(real_redis, claim)
    whole = await follow(hub, claim)
    entries = await read_to_end(whole)
    for n, entry in enumerate(entries[:-1]):
        reader = await follow(hub, claim, parse_position(entry.id.decode()))
        assert await read_to_end(reader) == entries[n + 1 :]
        reader.close()
    whole.close()


async def test_after_the_last_id_an_ended_run_sends_only_its_end(
    hub: StreamHub, real_redis: Client
) -> None:
    claim = await running(real_redis)
    await end(real_redis, claim, Cause.FAILED)
    first = await follow(hub, claim)
    last = (await read_to_end(first))[-1]
    second = await follow(hub, claim, last.position)
    [entry] = await read_to_end(second)
    assert (entry.event, entry.data, entry.id) == (b"end", b'{"status":"error"}', last.id)
    first.close()
    second.close()


async def test_a_live_reader_gets_no_earlier_events(hub: StreamHub, real_redis: Client) -> None:
    claim = await running(real_redis)
    await write_numbers(real_redis, claim, range(3))
    reader = await follow(hub, claim, None)
    await read_nothing(reader)
    await write_numbers(real_redis, claim, range(3, 6))
    await end(real_redis, claim)
    entries = await read_to_end(reader)
    assert names_of(entries) == [b"values"] * 3 + [b"end"]
    assert numbers_of(entries) == [3, 4, 5]
    reader.close()


async def test_a_live_reader_of_an_ended_run_gets_all_events(
    hub: StreamHub, real_redis: Client
) -> None:
    claim = await running(real_redis)
    await write_numbers(real_redis, claim, range(3))
    await end(real_redis, claim)
    reader = await follow(hub, claim, None)
    assert numbers_of(await read_to_end(reader)) == [0, 1, 2]
    reader.close()


@pytest.mark.parametrize("after", [START, (1, 5)])
async def test_a_gap_comes_first_where_events_were_trimmed(
    hub: StreamHub, real_redis: Client, after: Position
) -> None:
    claim = await running(real_redis)
    parts: list[str | bytes] = [part for n in range(400) for part in ("values", str(n))]
    await scripts.append(real_redis, [Batch(claim, 1, parts)], max_events=100)
    await end(real_redis, claim)
    reader = await follow(hub, claim, after)
    gap, *entries = await read_to_end(reader)
    assert gap.event == b"gap"
    requested = f"{after[0]}-{after[1]}".encode()
    assert gap.data == b'{"requested":"%b","first":"%b"}' % (requested, entries[0].id)
    numbers = numbers_of(entries)
    assert numbers == list(range(400 - len(numbers), 400))
    reader.close()


async def test_no_gap_is_sent_if_no_event_after_the_id_was_trimmed(
    hub: StreamHub, real_redis: Client
) -> None:
    claim = await running(real_redis)
    parts: list[str | bytes] = [part for n in range(400) for part in ("values", str(n))]
    await scripts.append(real_redis, [Batch(claim, 1, parts)], max_events=100)
    key = keys.events(claim.spec.thread_id, claim.spec.run_id)
    [(oldest, _)] = await real_redis.xrange(key, count=1)
    await end(real_redis, claim)
    reader = await follow(hub, claim, parse_position(oldest.decode()))
    entries = await read_to_end(reader)
    assert entries[0].event == b"values"
    assert len(entries) == await real_redis.xlen(key) - 1
    reader.close()


@pytest.mark.parametrize(
    ("cause", "status"), [(Cause.SUCCEEDED, b"success"), (Cause.CANCELLED, b"interrupted")]
)
@pytest.mark.parametrize("after", [START, (5, 5), None])
async def test_a_run_with_an_expired_stream_still_ends(
    hub: StreamHub, real_redis: Client, cause: Cause, status: bytes, after: Position | None
) -> None:
    claim = await running(real_redis)
    await end(real_redis, claim, cause)
    await real_redis.delete(keys.events(claim.spec.thread_id, claim.spec.run_id))
    reader = await follow(hub, claim, after)
    [entry] = await read_to_end(reader)
    assert (entry.event, entry.data) == (b"end", b'{"status":"%b"}' % status)
    reader.close()


async def test_a_run_that_never_ran_ends_for_its_readers(
    hub: StreamHub, real_redis: Client
) -> None:
    spec = await admit(real_redis)
    reader = await hub.open(spec.thread_id, spec.run_id, START)
    await read_nothing(reader)
    await end_pending(real_redis, spec)
    assert names_of(await read_to_end(reader)) == [b"end"]
    reader.close()


async def test_ten_readers_see_the_same(hub: StreamHub, real_redis: Client) -> None:
    claim = await running(real_redis)
    readers = [await follow(hub, claim) for _ in range(10)]

    async def write_all() -> None:
        await write_numbers(real_redis, claim, range(300), per_batch=7)
        await end(real_redis, claim)

    writing = asyncio.create_task(write_all())
    first, *others = await all_of(*map(read_to_end, readers))
    await writing
    assert numbers_of(first) == list(range(300))
    assert all(other == first for other in others)
    for reader in readers:
        reader.close()


async def test_a_late_reader_catches_up_and_then_follows(
    hub: StreamHub, real_redis: Client
) -> None:
    claim = await running(real_redis)
    early = await follow(hub, claim)
    await write_numbers(real_redis, claim, range(700), per_batch=50)
    seen = await read_some(early, 701)
    late = await follow(hub, claim)
    caught_up = await read_some(late, 701)
    assert caught_up == seen
    await write_numbers(real_redis, claim, range(700, 720))
    await end(real_redis, claim)
    rest_early, rest_late = await all_of(read_to_end(early), read_to_end(late))
    assert rest_late == rest_early
    assert numbers_of(rest_late) == list(range(700, 720))
    early.close()
    late.close()


async def test_a_slow_reader_behind_the_window_gets_every_event_once(
    hub: StreamHub, real_redis: Client
) -> None:
    total = 2 * (WINDOW_ENTRIES + PAGE_ENTRIES) + 7
    claim = await running(real_redis)
    fast, slow = await follow(hub, claim), await follow(hub, claim)
    await read_some(slow, 1)
    fast_task = asyncio.create_task(read_to_end(fast))
    await write_numbers(real_redis, claim, range(total), per_batch=100)
    await end(real_redis, claim)
    everything = await fast_task
    assert numbers_of(everything) == list(range(total))
    assert await read_to_end(slow) == everything[1:]
    assert slow.fell_behind
    fast.close()
    slow.close()


async def test_large_events_limit_the_window_by_bytes(hub: StreamHub, real_redis: Client) -> None:
    claim = await running(real_redis)
    fast, slow = await follow(hub, claim), await follow(hub, claim)
    await read_some(slow, 1)
    fast_task = asyncio.create_task(read_to_end(fast))
    body = b"9" * (WINDOW_BYTES // 5)
    for n in range(1, 21):
        await write(real_redis, claim, n, "custom", body + str(n).encode())
    await end(real_redis, claim)
    everything = await fast_task
    assert [entry.data for entry in everything[1:-1]] == [
        body + str(n).encode() for n in range(1, 21)
    ]
    assert await read_to_end(slow) == everything[1:]
    [tail] = hub._tails.values()
    assert tail.size == sum(len(entry.data) for entry in tail.window) <= WINDOW_BYTES
    fast.close()
    slow.close()


async def test_a_reader_opened_before_the_admission_misses_nothing(
    hub: StreamHub, real_redis: Client
) -> None:
    warm = await running(real_redis)
    keep_listening = await follow(hub, warm)
    await read_some(keep_listening, 1)

    async def one_run() -> None:
        spec = a_spec(new_id())
        reader = await hub.open(spec.thread_id, spec.run_id, START, fresh=True)

        async def work() -> None:
            await admit(real_redis, spec)
            claim = await take(real_redis, spec)
            await write_numbers(real_redis, claim, range(10), per_batch=3)
            await end(real_redis, claim)

        working = asyncio.create_task(work())
        entries = await read_to_end(reader)
        await working
        assert names_of(entries) == [b"metadata", *[b"values"] * 10, b"end"]
        assert numbers_of(entries) == list(range(10))
        reader.close()

    for _ in range(10):
        await asyncio.gather(*(one_run() for _ in range(10)))
    keep_listening.close()


async def test_the_first_readers_of_a_process_may_open_at_once(
    hub: StreamHub, real_redis: Client
) -> None:
    claims = [await running(real_redis) for _ in range(5)]
    readers = await asyncio.gather(*(follow(hub, claim) for claim in claims))
    await asyncio.gather(*(end(real_redis, claim) for claim in claims))
    pages = await all_of(*map(read_to_end, readers))
    assert [names_of(page) for page in pages] == [[b"metadata", b"end"]] * 5
    assert len(await hub_connections(real_redis, hub)) == 1
    for reader in readers:
        reader.close()


async def test_closing_the_last_reader_unsubscribes_from_the_run(
    hub: StreamHub, real_redis: Client
) -> None:
    claim = await running(real_redis)
    channel = keys.events(claim.spec.thread_id, claim.spec.run_id)

    async def subscribers() -> int:
        [(_, count)] = await real_redis.pubsub_numsub(channel)
        return int(count)

    one, two = await follow(hub, claim), await follow(hub, claim)
    await until(subscribers, what="a subscription")
    one.close()
    await read_some(two, 1)
    assert await subscribers() == 1
    two.close()
    assert hub._tails == {}

    async def nobody() -> bool:
        return await subscribers() == 0

    await until(nobody, what="no subscription")

    again = await follow(hub, claim)
    await end(real_redis, claim)
    assert names_of(await read_to_end(again)) == [b"metadata", b"end"]
    again.close()


async def test_a_run_opened_again_during_the_unsubscribe_is_followed(
    hub: StreamHub, real_redis: Client
) -> None:
    claim = await running(real_redis)
    reader = await follow(hub, claim)
    await read_some(reader, 1)
    for n in range(50):
        reader.close()
        for _ in range(n % 5):
            await asyncio.sleep(0)
        reader = await follow(hub, claim)
        await write_numbers(real_redis, claim, range(n, n + 1))
        assert numbers_of(await read_some(reader, n + 2)) == list(range(n + 1))
        await read_nothing(reader)
    await end(real_redis, claim)
    assert names_of(await read_to_end(reader)) == [b"end"]
    reader.close()


async def test_shutting_down_wakes_every_reader(hub: StreamHub, real_redis: Client) -> None:
    claims = [await running(real_redis) for _ in range(2)]
    readers = [await follow(hub, claim) for claim in claims for _ in range(2)]
    for reader in readers:
        await read_some(reader, 1)
        await read_nothing(reader)
        assert not reader.closing
    hub.shut_down()
    assert all(reader.closing and reader.news.is_set() for reader in readers)
    for reader in readers:
        reader.close()


async def test_reading_changes_nothing_in_redis(hub: StreamHub, real_redis: Client) -> None:
    claim = await running(real_redis)
    reader = await follow(hub, claim)
    await end(real_redis, claim)
    key = keys.events(claim.spec.thread_id, claim.spec.run_id)
    await read_to_end(reader)
    assert 0 < await real_redis.ttl(key) <= STREAM_TTL < EVENTS_TTL
    assert not await real_redis.xinfo_groups(key)
    reader.close()
