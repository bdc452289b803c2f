"""Finding threads: by what they are, have been told, and hold; in an order, a page at a time.

Sets and orders in Redis (thread_index.lua) name the candidates; what they can't decide (lists, values)
is looked up on the records. What is shown is always what the records say.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.errors import TooLargeError
from millstream.shared.metadata_index import contains, term_keys, terms_decide
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import ThreadStatus
from millstream.shared.scripts import FoundThreads
from millstream.shared.threads import ThreadRecord, parse_record

MAX_PAGE_BYTES: Final = 64 * 1024 * 1024  # bytes of values on one page
TOGETHER: Final = 100  # records read in one round trip
CANDIDATES: Final = 1000  # asked for at a time where records decide
ALL: Final = 2**53
HEAD: Final = [
    "created_at", "updated_at", "state_updated_at", "status", "metadata", "graph_id", "assistant_id",
    "retired",
]  # fmt: skip
STATE: Final = ["values", "interrupts", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadFilter:
    """Which threads are wanted: those that fit all of it."""

    metadata: dict[str, Any] = field(default_factory=dict)
    exclude: list[dict[str, Any]] = field(default_factory=list)  # metadata that none may contain
    values: dict[str, Any] = field(default_factory=dict)
    status: ThreadStatus | None = None
    ids: list[str] | None = None
    sort_by: str = "created_at"  # or thread_id, updated_at, state_updated_at, status
    descending: bool = True


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """Some of the threads, in order."""

    records: list[ThreadRecord]
    total: int  # of all that fit; if that would have to be counted, a number greater than shown
    more: bool


async def search(
    redis: Client, query: ThreadFilter, *, limit: int, offset: int, with_state: bool = True
) -> ThreadPage:
    """Returns a page; without state, its records have no values, interrupts and error.

    Raises:
        TooLargeError: the values on the page are more than `MAX_PAGE_BYTES` bytes.
    """
    ids: list[str] = []
    total: int | None = None
    left = offset  # so many that fit are still to be passed over
    async for found in _matching(redis, query, wanted=offset + limit + 1, skip=offset):
        total = found.total
        left -= found.skipped
        ids += found.ids[left:]
        left -= min(left, len(found.ids))
        if len(ids) > limit:
            break
    if total is None:
        total = offset - left + min(len(ids), limit + 1)
    records = await _read(redis, ids[:limit], with_state=with_state)
    fit = [record for record in records if _fits_head(record, query)]
    return ThreadPage(fit, total, len(ids) > limit)


async def count(redis: Client, query: ThreadFilter) -> int:
    """Returns how many threads fit."""
    number = 0
    async for found in _matching(redis, query, wanted=ALL):
        if found.total is not None:
            return found.total
        number += len(found.ids)
    return number


@dataclass(frozen=True, slots=True)
class _Matches:
    ids: list[str]
    total: int | None
    skipped: int = 0  # so many that fit were left out before these


async def _matching(
    redis: Client, query: ThreadFilter, *, wanted: int, skip: int = 0
) -> AsyncIterator[_Matches]:
    """Yields the ids of those that fit, in order, some at a time; some more than are wanted."""
    if query.ids is not None:
        ids = await _verified(redis, await _named(redis, query), query)
        yield _Matches(ids, len(ids))
        return
    seen: set[str] = set()  # what is updated meanwhile may come again
    filters = term_keys(query.metadata)
    decided = not query.values and not query.exclude and filters is not None
    decided = decided and (not query.metadata or terms_decide(query.metadata))
    if query.sort_by != "status" or query.status is not None:
        statuses = [query.status]
    else:
        statuses = sorted(ThreadStatus, reverse=query.descending)  # type: ignore[assignment]
    order = keys.threads_by("created_at" if query.sort_by == "status" else query.sort_by)
    for status in statuses:
        sets = [*(filters or ()), *([] if status is None else [keys.threads_of(status)])]
        start: int | None = skip if decided and not sets else 0
        skipped = start or 0
        wanted -= skipped
        while start is not None:
            # Of candidates that have to be looked at, many may not fit.
            needed = max(wanted, 1) if decided else max(wanted, CANDIDATES)
            if wanted == ALL and decided and not seen:
                needed = 1  # the sets may know how many there are
            found: FoundThreads = await scripts.find_threads(
                redis, order, sets, descending=query.descending, start=start, limit=needed
            )
            start = found.next_start
            ids = [i for i in found.ids if i not in seen]
            seen.update(ids)
            known = decided and found.is_decided
            if not known:
                ids = await _verified(redis, ids, query)
            whole = known and len(statuses) == 1
            wanted -= len(ids)
            yield _Matches(ids, found.total if whole else None, skipped)
            skipped = 0


async def _named(redis: Client, query: ThreadFilter) -> list[str]:
    """Returns those of the query's ids that are listed, in order."""
    ids = list(dict.fromkeys(query.ids or ()))
    if not ids:
        return []
    field = "created_at" if query.sort_by == "status" else query.sort_by
    scores = await redis.zmscore(keys.threads_by(field), ids)
    known = sorted(
        ((score, i) for score, i in zip(scores, ids, strict=True) if score is not None),
        reverse=query.descending,
    )
    ordered = [i for _, i in known]
    if query.sort_by == "status":
        found = await _heads(redis, ordered)
        names = {r.thread_id: r.status.value for r in found if r is not None}
        ordered.sort(key=lambda i: names.get(i, ""), reverse=query.descending)
    return ordered


def _fits_head(record: ThreadRecord, query: ThreadFilter) -> bool:
    return (
        query.status in (None, record.status)
        and contains(record.metadata, query.metadata)
        and not any(contains(record.metadata, part) for part in query.exclude)
    )


async def _verified(redis: Client, ids: list[str], query: ThreadFilter) -> list[str]:
    """Returns those of the ids whose records fit."""
    fit: list[str] = []
    for start in range(0, len(ids), TOGETHER):
        part = ids[start : start + TOGETHER]
        heads = [r for r in await _heads(redis, part) if r is not None and _fits_head(r, query)]
        if query.values and heads:
            pipe = redis.pipeline(transaction=False)
            for record in heads:
                pipe.hget(keys.thread(record.thread_id), "values")
            held = zip(heads, await pipe.execute(), strict=True)
            heads = [r for r, values in held if values and _holds(values, query.values)]
        fit += [record.thread_id for record in heads]
    return fit


def _holds(values: bytes, wanted: dict[str, Any]) -> bool:
    return contains(msgspec.json.decode(values), wanted)


async def _heads(redis: Client, ids: list[str]) -> list[ThreadRecord | None]:
    return await _records(redis, ids, HEAD)


async def _records(redis: Client, ids: list[str], names: list[str]) -> list[ThreadRecord | None]:
    pipe = redis.pipeline(transaction=False)
    for thread_id in ids:
        pipe.hmget(keys.thread(thread_id), names)
    words = [name.encode() for name in names]
    return [
        parse_record(thread_id, {w: v for w, v in zip(words, values, strict=True) if v is not None})
        for thread_id, values in zip(ids, await pipe.execute(), strict=True)
    ]


async def _read(redis: Client, ids: list[str], *, with_state: bool) -> list[ThreadRecord]:
    found: list[ThreadRecord] = []
    size = 0
    for start in range(0, len(ids), TOGETHER):
        part = await _records(
            redis, ids[start : start + TOGETHER], HEAD + STATE if with_state else HEAD
        )
        found += [record for record in part if record is not None]
        size += sum(len(r.values or b"") + len(r.interrupts) for r in part if r is not None)
        if size > MAX_PAGE_BYTES:
            raise TooLargeError(
                f"The values of these threads are more than {MAX_PAGE_BYTES} bytes: ask for less with "
                "`limit`, or leave them out with `select`."
            )
    return found
