"""The state after the last run: the histories of the runs, and keys that should not exist."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from chaos.ledger import Entry, History
from harness.leaks import leaked
from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.wire import unpack_spec

RUN_KEY = re.compile(r"ms:\{(?P<thread>[^}]+)\}:run:(?P<run>[0-9a-f-]{36})(?::events)?")


async def histories(redis: Client) -> AsyncIterator[History]:
    """Yields the history of each run that has a key in Redis, known to a client or not."""
    names = {key.decode() async for key in redis.scan_iter("ms:{*}:run:*", count=5000)}
    ids = {match.groups() for name in names if (match := RUN_KEY.fullmatch(name))}
    for thread_id, run_id in sorted(ids):
        record: Any = await redis.hmget(keys.run(thread_id, run_id), ["status", "error", "spec"])  # type: ignore[misc]
        status, error, spec = (part or b"" for part in record)
        raw = await redis.xrange(keys.events(thread_id, run_id))
        metadata = json.loads(unpack_spec(spec).metadata) if spec else {}
        yield History(
            run_id,
            thread_id,
            status.decode(),
            error.decode(),
            metadata.get("token", ""),
            list(_entries(raw)),
        )


def _entries(raw: list[tuple[bytes, dict[bytes, bytes]]]) -> Iterator[Entry]:
    """Yields entries with their times. First and last events have a time, and custom ones get it from the graphs."""
    at = 0
    for name, fields in raw:
        event, payload = next(iter(fields.items()))
        data = json.loads(payload)
        if event == b"custom":
            at = data["at"]
        at = int(fields.get(b"at", at))
        yield Entry(name.decode(), event.decode(), data, at)


async def at_rest(redis: Client) -> bool:
    """Returns whether no run is alive or queued."""
    return not await redis.scard(keys.live()) and not await redis.zcard(keys.queue("default"))  # type: ignore[misc]


async def stuck(redis: Client, thread_ids: list[str]) -> list[str]:
    """Returns the threads that have an active or waiting run according to their record."""
    pipe = redis.pipeline(transaction=False)
    for thread_id in thread_ids:
        pipe.hmget(keys.thread(thread_id), ["status", "active"])
        pipe.llen(keys.waiting(thread_id))
    records = await pipe.execute()
    return [
        f"thread {thread_id}: {status}, active {active}, {waiting} waiting"
        for thread_id, (status, active), waiting in zip(
            thread_ids, records[::2], records[1::2], strict=True
        )
        if status == b"busy" or active is not None or waiting
    ]


async def delete_threads(url: str, thread_ids: list[str]) -> list[str]:
    """Deletes threads through the API. Returns the requests that failed."""
    wrong = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        for thread_id in thread_ids:
            answer = await http.delete(f"/threads/{thread_id}")
            if answer.status_code != 204:
                wrong.append(f"thread {thread_id}: {answer.status_code} {answer.text[:200]}")
    return wrong


async def states(url: str, thread_ids: list[str]) -> AsyncIterator[tuple[str, Any]]:
    """Yields the state of each thread, as the API returns it."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        for thread_id in thread_ids:
            answer = await http.get(f"/threads/{thread_id}/state")
            yield thread_id, answer.json() if answer.status_code == 200 else answer.text


async def leftover_keys(redis: Client, thread_ids: set[str]) -> list[str]:
    """Returns the keys of deleted threads, and the keys that never expire."""
    of_threads = [
        name
        async for key in redis.scan_iter("ms:{*}:*", count=5000)
        if (name := key.decode())[4:40] in thread_ids
    ]
    return sorted({*of_threads, *await leaked(redis)})
