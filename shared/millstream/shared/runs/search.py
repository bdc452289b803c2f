"""Searches for runs: all runs of one thread, or the runs of all threads that have not ended.

No index has the ended runs of all threads, so a search reads one thread or the live runs.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from millstream.shared import keys
from millstream.shared.errors import TooLargeError
from millstream.shared.list_size import MAX_PAGE_BYTES, record_sizes
from millstream.shared.metadata_index import contains
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.runs import RunRecord, find_runs, live_runs

RunRefs = list[tuple[str, str]]  # thread ids and run ids
PAGE: Final = 200  # runs read in one round trip


async def search(
    redis: Client,
    *,
    thread_id: str | None,
    status: RunStatus | None,
    assistant_id: str | None,
    metadata: dict[str, Any],
    limit: int,
    offset: int,
    keep: Callable[[RunRefs], Awaitable[RunRefs]],
) -> list[RunRecord]:
    """Returns the matching runs, newest first; without a thread, only runs that have not ended.

    `keep` returns those of the runs (thread id, run id) that the caller may read. It stops reading
    runs when the page is full.

    Raises TooLargeError if the requests that created the matching runs exceed `MAX_PAGE_BYTES`.
    """
    matches: list[RunRecord] = []
    skipped = size = 0
    ids = await keep(
        await _live(redis) if thread_id is None else await _of_thread(redis, thread_id)
    )
    async for record in _read(redis, ids):
        if status not in (None, record.status):
            continue
        if assistant_id not in (None, record.spec.assistant_id):
            continue
        if metadata and not contains(msgspec.json.decode(record.spec.metadata), metadata):
            continue
        if skipped < offset:
            skipped += 1
            continue
        matches.append(record)
        size += len(record.spec.kwargs)
        if size > MAX_PAGE_BYTES and len(matches) > 1:
            raise TooLargeError(
                f"The list exceeds {MAX_PAGE_BYTES} bytes: request fewer runs with `limit`."
            )
        if len(matches) >= limit:
            break
    return matches


async def _of_thread(redis: Client, thread_id: str) -> list[tuple[str, str]]:
    ids = await redis.zrevrange(keys.runs(thread_id), 0, -1)
    return [(thread_id, run_id.decode()) for run_id in ids]


async def _live(redis: Client) -> list[tuple[str, str]]:
    ids = [(thread_id, run_id) for thread_id, run_id, _ in await live_runs(redis)]
    pipe = redis.pipeline(transaction=False)
    for thread_id, run_id in ids:
        pipe.hget(keys.run(thread_id, run_id), "created_at")
    created = [int(at or 0) for at in await pipe.execute()]
    by_age = sorted(zip(created, ids, strict=True), reverse=True)
    return [pair for _, pair in by_age]


async def _read(redis: Client, ids: Sequence[tuple[str, str]]) -> AsyncIterator[RunRecord]:
    start = 0
    while start < len(ids):
        page = ids[start : start + PAGE]
        sizes = await record_sizes(redis, [keys.run(*pair) for pair in page], ["spec"])
        # Together they fit into the memory of an API, whether they match or not.
        fitting = sum(total <= MAX_PAGE_BYTES for total in accumulate(sizes))
        for record in await find_runs(redis, page[: max(fitting, 1)]):
            yield record
        start += max(fitting, 1)
