"""Readers that follow runs through a hub, as responses of the API do."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from contract.builders import write
from millstream.shared.events.entries import Entry
from millstream.shared.events.hub import StreamHub
from millstream.shared.events.reader import Reader
from millstream.shared.redis import Client, connect
from millstream.shared.scripts import Claim

READ_SECONDS = 10.0  # for reads that normally take ms; shorter than a sweep


@asynccontextmanager
async def running_hub(
    url: str, on_outage: Callable[[float], None] | None = None
) -> AsyncIterator[StreamHub]:
    """Yields a started hub with its own connections."""
    redis = connect(url)
    blocking = connect(f"{url}?client_name=hub-{uuid.uuid4().hex}", reply_timeout=None)
    hub = StreamHub(redis, blocking, on_outage)
    hub.start()
    try:
        yield hub
    finally:
        await hub.close()
        await redis.aclose()
        await blocking.aclose()


async def read_while(reader: Reader, more: Callable[[list[Entry]], bool]) -> list[Entry]:
    """Reads while `more(entries)` is true."""
    entries: list[Entry] = []
    async with asyncio.timeout(READ_SECONDS):
        while more(entries):
            await reader.news.wait()
            page = await reader.read()
            if page:
                entries += page
                reader.news.set()
    return entries


async def read_to_end(reader: Reader) -> list[Entry]:
    return await read_while(reader, lambda _: not reader.ended)


async def read_some(reader: Reader, count: int) -> list[Entry]:
    """Reads until at least `count` entries have arrived."""
    return await read_while(reader, lambda entries: len(entries) < count)


async def read_nothing(reader: Reader) -> None:
    """Reads to the current end of the stream. Fails if there is an entry."""
    async with asyncio.timeout(READ_SECONDS):
        while reader.news.is_set():
            assert await reader.read() == []


async def write_numbers(redis: Client, claim: Claim, numbers: range, per_batch: int = 1) -> None:
    """Appends one event for each number, `per_batch` in a batch."""
    for first in numbers[::per_batch]:
        batch = range(first, min(first + per_batch, numbers.stop))
        parts: list[str | bytes] = [w for n in batch for w in ("values", str(n))]
        assert await write(redis, claim, first + 1, *parts)


def numbers_of(entries: list[Entry]) -> list[int]:
    return [int(entry.data) for entry in entries if entry.event == b"values"]


def names_of(entries: list[Entry]) -> list[bytes]:
    return [entry.event for entry in entries]


async def all_of(*awaitables: Awaitable[list[Entry]]) -> list[list[Entry]]:
    return list(await asyncio.gather(*awaitables))


async def hub_connections(redis: Client, hub: StreamHub) -> list[str]:
    """Returns the ids of the hub's subscribed connections."""
    name = hub._subscriber._blocking.connection_pool.connection_kwargs["client_name"]
    return [client["id"] for client in await redis.client_list() if client["name"] == name]


async def cut_off(redis: Client, hub: StreamHub) -> None:
    """Kills the hub's subscribed connection."""
    [number] = await hub_connections(redis, hub)
    await redis.client_kill_filter(_id=number)
