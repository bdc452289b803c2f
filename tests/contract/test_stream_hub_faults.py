"""Notifications, connections and replies are lost or late, and readers still get every event."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contract.builders import a_spec, admit, end, running, take, write
from contract.stream_readers import (
    all_of,
    cut_off,
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
from millstream.shared.events import hub as stream_hub
from millstream.shared.events.entries import START, Position
from millstream.shared.events.hub import StreamHub
from millstream.shared.events.reader import Reader
from millstream.shared.redis import Client
from millstream.shared.scripts import Batch, Claim


@pytest.fixture
def url(redis_server: EmbeddedRedis, real_redis: Client) -> str:
    """The database of `real_redis`."""
    return redis_server.url.rpartition("/")[0] + "/1"


@pytest.fixture
async def hub(url: str) -> AsyncIterator[StreamHub]:
    """A started hub."""
    async with running_hub(url) as hub:
        yield hub


async def follow(hub: StreamHub, claim: Claim) -> Reader:
    return await hub.open(claim.spec.thread_id, claim.spec.run_id, START)


async def test_a_cancelled_open_of_a_reader_has_no_side_effect(
    hub: StreamHub, real_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen(channel: str) -> None:
        raise TimeoutError

    claim = await running(real_redis)
    monkeypatch.setattr(hub._subscriber, "listen", listen)
    with pytest.raises(TimeoutError):
        await follow(hub, claim)
    assert repr(hub) == "<StreamHub 0 runs, 0 readers>"
    monkeypatch.undo()
    reader = await follow(hub, claim)
    await read_some(reader, 1)
    reader.close()


async def test_a_lost_notification_delays_an_event_until_the_next_sweep(
    url: str, real_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_hub, "SWEEP_SECONDS", 0.02)
    claim = await running(real_redis)
    async with running_hub(url) as hub:
        reader = await follow(hub, claim)
        await read_some(reader, 1)
        key = keys.events(claim.spec.thread_id, claim.spec.run_id)
        for n in range(3):
            await real_redis.xadd(key, {"values": str(n)})
            [entry] = await read_some(reader, 1)
            assert (entry.event, entry.data) == (b"values", str(n).encode())
        reader.close()


async def test_without_notification_and_sweep_a_reader_gets_no_event(
    hub: StreamHub, real_redis: Client
) -> None:
    """Shows that readers do not poll: else the test above would pass without the sweep."""
    claim = await running(real_redis)
    reader = await follow(hub, claim)
    await read_some(reader, 1)
    await read_nothing(reader)
    key = keys.events(claim.spec.thread_id, claim.spec.run_id)
    await real_redis.xadd(key, {"values": "1"})
    assert not reader.news.is_set()
    await real_redis.publish(key, "")
    assert numbers_of(await read_some(reader, 1)) == [1]
    reader.close()


@pytest.mark.parametrize("left", ["record", "nothing"])
async def test_a_lost_stream_ends_at_the_next_sweep(
    url: str, real_redis: Client, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.setattr(stream_hub, "SWEEP_SECONDS", 0.02)
    claim = await running(real_redis)
    thread, run = claim.spec.thread_id, claim.spec.run_id
    async with running_hub(url) as hub:
        reader = await follow(hub, claim)
        await read_some(reader, 1)
        if left == "record":
            await real_redis.hset(keys.run(thread, run), "status", "success")  # type: ignore[misc]
            await real_redis.delete(keys.events(thread, run))
        else:
            await real_redis.delete(keys.run(thread, run), keys.events(thread, run))
        [entry] = await read_to_end(reader)
        status = b"success" if left == "record" else b"error"
        assert (entry.event, entry.data) == (b"end", b'{"status":"%b"}' % status)
        reader.close()


async def test_sweeps_do_not_end_a_silent_run(
    url: str, real_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_hub, "SWEEP_SECONDS", 0.005)
    claim = await running(real_redis)
    waiting = await admit(real_redis, a_spec(claim.spec.thread_id))
    async with running_hub(url) as hub:
        readers = [
            await follow(hub, claim),
            await hub.open(waiting.thread_id, waiting.run_id, START),
        ]
        await read_some(readers[0], 1)
        for reader in readers:
            for _ in range(10):
                async with asyncio.timeout(5):
                    await reader.news.wait()
                assert await reader.read() == []
            assert not reader.ended
            reader.close()


async def test_events_written_during_a_disconnect_are_delivered(
    hub: StreamHub, real_redis: Client
) -> None:
    claims = [await running(real_redis) for _ in range(3)]
    readers = [await follow(hub, claim) for claim in claims]
    for reader in readers:
        await read_some(reader, 1)
    for part in range(5):
        await cut_off(real_redis, hub)
        for claim in claims:
            await write_numbers(real_redis, claim, range(part * 10, part * 10 + 10))
        pages = await all_of(*(read_some(reader, 10) for reader in readers))
        expected = list(range(part * 10, part * 10 + 10))
        assert [numbers_of(page) for page in pages] == [expected] * 3

        async def back() -> bool:
            return len(await hub_connections(real_redis, hub)) == 1

        await until(back, what="one connection")
    await asyncio.gather(*(end(real_redis, claim) for claim in claims))
    for page in await all_of(*map(read_to_end, readers)):
        assert names_of(page) == [b"end"]
    for reader in readers:
        reader.close()


async def test_a_lost_connection_is_reported_once_it_is_open_again(
    real_redis: Client, url: str
) -> None:
    outages: list[float] = []
    async with running_hub(url, outages.append) as hub:
        claim = await running(real_redis)
        reader = await follow(hub, claim)
        await read_some(reader, 1)
        assert outages == []
        await cut_off(real_redis, hub)
        await until(lambda: outages)
        assert len(outages) == 1
        assert 0 < outages[0] < 60
        reader.close()
        await end(real_redis, claim)


@pytest.mark.parametrize("seed", range(10))
async def test_readers_opened_during_a_disconnect_are_served(
    hub: StreamHub, real_redis: Client, seed: int
) -> None:
    first = await running(real_redis)
    claims = [await running(real_redis) for _ in range(10)]
    first_reader = await follow(hub, first)
    await read_some(first_reader, 1)

    async def come_late(claim: Claim, iterations: int) -> Reader:
        for _ in range(iterations):
            await asyncio.sleep(0)
        return await follow(hub, claim)

    _, *readers = await asyncio.gather(
        cut_off(real_redis, hub),
        *(come_late(claim, n * (seed + 1)) for n, claim in enumerate(claims)),
    )
    assert all(isinstance(reader, Reader) for reader in readers)
    for claim in [first, *claims]:
        await write_numbers(real_redis, claim, range(3))
        await end(real_redis, claim)
    pages = await all_of(*(read_to_end(reader) for reader in [first_reader, *readers] if reader))
    assert [numbers_of(page) for page in pages] == [[0, 1, 2]] * 11
    assert len(await hub_connections(real_redis, hub)) == 1
    for reader in [first_reader, *readers]:
        if reader:
            reader.close()


async def test_an_empty_page_that_arrives_late_loses_no_events(
    hub: StreamHub, real_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two readers read an empty stream; events arrive before the reply to one of them."""
    spec = await admit(real_redis)
    early = await hub.open(spec.thread_id, spec.run_id, START)
    late = await hub.open(spec.thread_id, spec.run_id, START)
    await asyncio.wait_for(late._tail.subscribed.wait(), 5)
    pages = hub._pages.read
    has_read, may_go_on = asyncio.Event(), asyncio.Event()

    async def held_up(cursors: list[tuple[str, Position]], *, oldest: bool = False) -> Any:
        result = await pages(cursors, oldest=oldest)
        has_read.set()
        await may_go_on.wait()
        return result

    monkeypatch.setattr(hub._pages, "read", held_up)
    reading = asyncio.create_task(late.read())
    async with asyncio.timeout(5):
        await has_read.wait()
    monkeypatch.setattr(hub._pages, "read", pages)

    claim = await take(real_redis, spec)
    await write_numbers(real_redis, claim, range(3))
    assert numbers_of(await read_some(early, 4)) == [0, 1, 2]
    may_go_on.set()
    entries = await reading
    await end(real_redis, claim)
    entries += await read_to_end(late)
    assert names_of(entries) == [b"metadata", b"values", b"values", b"values", b"end"]
    early.close()
    late.close()


async def test_a_reader_behind_the_trimming_continues_with_the_remaining_events(
    hub: StreamHub, real_redis: Client
) -> None:
    claim = await running(real_redis)
    fast, slow = await follow(hub, claim), await follow(hub, claim)
    await read_some(slow, 1)
    fast_task = asyncio.create_task(read_to_end(fast))
    for n in range(20):
        parts: list[str | bytes] = [w for i in range(100) for w in ("values", str(n * 100 + i))]
        await scripts.append(real_redis, [Batch(claim, n + 1, parts)], max_events=200)
    await end(real_redis, claim)
    numbers = numbers_of(await read_to_end(slow))
    assert numbers == list(range(2000 - len(numbers), 2000))
    assert len(numbers) >= 200
    await fast_task
    fast.close()
    slow.close()


async def test_closing_a_reader_after_the_hub_opens_no_connection(
    url: str, real_redis: Client
) -> None:
    claim = await running(real_redis)
    async with running_hub(url) as hub:
        reader = await follow(hub, claim)
        await read_some(reader, 1)
        await hub.close()
        reader.close()
        for _ in range(20):
            await real_redis.ping()
        assert await hub_connections(real_redis, hub) == []
    await write(real_redis, claim, 1, "values", "1")


async def test_closing_the_hub_ends_it_despite_a_swallowed_cancel(
    url: str, real_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Redis client swallows a cancel while it opens a connection."""
    claim = await running(real_redis)
    async with running_hub(url) as hub:
        reader = await follow(hub, claim)
        await read_some(reader, 1)
        await read_nothing(reader)
        is_reading = asyncio.Event()

        async def deaf(cursors: list[tuple[str, Position]]) -> list[Any]:
            is_reading.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                monkeypatch.undo()
            return [[] for _ in cursors]

        monkeypatch.setattr(hub._pages, "read", deaf)
        await write(real_redis, claim, 1, "values", "1")
        async with asyncio.timeout(5):
            await is_reading.wait()
            await hub.close()
        reader.close()
