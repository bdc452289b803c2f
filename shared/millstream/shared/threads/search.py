"""Searches for threads by status, metadata and values, sorted and in pages.

The index in Redis (scripts/parts/thread_index.lua) names candidates. The records decide what the index can't: lists in
the metadata, and values. The fields of a result always come from the records.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.access import Filter
from millstream.shared.list_size import MAX_PAGE_BYTES, check_page
from millstream.shared.metadata_index import contains, term_keys, terms_decide
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import ThreadStatus
from millstream.shared.scripts import FoundThreads
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.fields import open_thread_field
from millstream.shared.threads import ThreadRecord, parse_record

BATCH: Final = 100  # records read in one round trip
CANDIDATES: Final = 1000  # minimum number of candidates to request where the records decide
ALL: Final = 2**53
HEAD: Final = [
    "created_at", "updated_at", "state_updated_at", "status", "metadata", "graph_id", "assistant_id",
    "retired",
]  # fmt: skip
STATE: Final = ["values", "interrupts", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadFilter:
    """Conditions that a thread must all meet, and the order of the results."""

    metadata: dict[str, Any] = field(default_factory=dict)
    exclude: list[dict[str, Any]] = field(
        default_factory=list
    )  # the thread's metadata must contain none of these
    values: dict[str, Any] = field(default_factory=dict)
    status: ThreadStatus | None = None
    ids: list[str] | None = None
    access: Filter | None = None  # of the caller's rights; None for all threads
    sort_by: str = "created_at"  # or thread_id, updated_at, state_updated_at, status
    descending: bool = True


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """A page of matching threads, in order."""

    records: list[ThreadRecord]
    total: int  # number of all matches; a lower bound beyond this page if they would have to be counted
    more: bool


async def search(
    redis: Client, criteria: ThreadFilter, *, limit: int, offset: int, with_state: bool = True
) -> ThreadPage:
    """Returns a page of matching threads; without state, the records lack values, interrupts and error.

    Raises:
        TooLargeError: metadata and values on the page exceed `MAX_PAGE_BYTES`.
    """
    ids: list[str] = []
    total: int | None = None
    left = offset  # number of matches that are still to be skipped
    async for matches in _matching(redis, criteria, limit=offset + limit + 1, skip=offset):
        total = matches.total
        left -= matches.skipped
        ids += matches.ids[left:]
        left -= min(left, len(matches.ids))
        if len(ids) > limit:
            break
    if total is None:
        total = offset - left + min(len(ids), limit + 1)
    records = await _read(redis, ids[:limit], with_state=with_state)
    matching = [record for record in records if _matches_head(record, criteria)]
    return ThreadPage(matching, total, len(ids) > limit)


async def count(redis: Client, criteria: ThreadFilter) -> int:
    """Returns the number of matching threads."""
    number = 0
    async for matches in _matching(redis, criteria, limit=ALL):
        if matches.total is not None:
            return matches.total
        number += len(matches.ids)
    return number


@dataclass(frozen=True, slots=True)
class _Matches:
    ids: list[str]
    total: int | None
    skipped: int = 0  # number of matches that were left out before these


async def _matching(
    redis: Client, criteria: ThreadFilter, *, limit: int, skip: int = 0
) -> AsyncIterator[_Matches]:
    """Yields the ids of matching threads in order, in parts; a few more than `limit`."""
    if criteria.ids is not None:
        ids = await _filter_by_record(redis, await _sort_ids(redis, criteria), criteria)
        yield _Matches(ids, len(ids))
        return
    seen: set[str] = set()  # a thread that is updated meanwhile may be returned again
    access = criteria.access or Filter.of({})
    owned = access.equalities()
    # A name with two values is left to the records.
    metadata = {**owned, **criteria.metadata}
    term_sets = term_keys(metadata)
    index_decides = not criteria.values and not criteria.exclude and term_sets is not None
    index_decides = index_decides and (not metadata or terms_decide(metadata))
    index_decides = (
        index_decides and access.is_equalities and owned.keys().isdisjoint(criteria.metadata)
    )
    if criteria.sort_by != "status" or criteria.status is not None:
        statuses = [criteria.status]
    else:
        statuses = sorted(ThreadStatus, reverse=criteria.descending)  # type: ignore[assignment]
    order = keys.threads_by("created_at" if criteria.sort_by == "status" else criteria.sort_by)
    for status in statuses:
        sets = [*(term_sets or ()), *([] if status is None else [keys.threads_of(status)])]
        start: int | None = skip if index_decides and not sets else 0
        skipped = start or 0
        limit -= skipped
        while start is not None:
            # Where the records decide, many candidates may not match.
            candidates = max(limit, 1) if index_decides else max(limit, CANDIDATES)
            if limit == ALL and index_decides and not seen:
                candidates = 1  # the sets may know the number of matches
            page: FoundThreads = await scripts.find_threads(
                redis, order, sets, descending=criteria.descending, start=start, limit=candidates
            )
            start = page.next_start
            ids = [i for i in page.ids if i not in seen]
            seen.update(ids)
            is_decided = index_decides and page.is_decided
            if not is_decided:
                ids = await _filter_by_record(redis, ids, criteria)
            has_total = is_decided and len(statuses) == 1
            limit -= len(ids)
            yield _Matches(ids, page.total if has_total else None, skipped)
            skipped = 0


async def _sort_ids(redis: Client, criteria: ThreadFilter) -> list[str]:
    """Returns the requested ids that are indexed, in order."""
    ids = list(dict.fromkeys(criteria.ids or ()))
    if not ids:
        return []
    field = "created_at" if criteria.sort_by == "status" else criteria.sort_by
    scores = await redis.zmscore(keys.threads_by(field), ids)
    scored = sorted(
        ((score, i) for score, i in zip(scores, ids, strict=True) if score is not None),
        reverse=criteria.descending,
    )
    ordered = [i for _, i in scored]
    if criteria.sort_by == "status":
        heads = await _heads(redis, ordered)
        statuses = {r.thread_id: r.status.value for r in heads if r is not None}
        ordered.sort(key=lambda i: statuses.get(i, ""), reverse=criteria.descending)
    return ordered


def _matches_head(record: ThreadRecord, criteria: ThreadFilter) -> bool:
    return (
        criteria.status in (None, record.status)
        and (criteria.access is None or criteria.access.matches(record.metadata))
        and contains(record.metadata, criteria.metadata)
        and not any(contains(record.metadata, part) for part in criteria.exclude)
    )


async def _filter_by_record(redis: Client, ids: list[str], criteria: ThreadFilter) -> list[str]:
    """Returns the ids of the threads whose records match."""
    matching: list[str] = []
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        records = await _heads(redis, batch)
        heads = [r for r in records if r is not None and _matches_head(r, criteria)]
        if criteria.values and heads:
            pipe = redis.pipeline(transaction=False)
            for record in heads:
                pipe.hget(keys.thread(record.thread_id), "values")
            key_ring = key_ring_of(redis)
            heads = [
                record
                for record, stored in zip(heads, await pipe.execute(), strict=True)
                if (
                    values := open_thread_field(key_ring, record.thread_id, "values", stored or b"")
                )
                and contains(msgspec.json.decode(values), criteria.values)
            ]
        matching += [record.thread_id for record in heads]
    return matching


async def _heads(redis: Client, ids: list[str]) -> list[ThreadRecord | None]:
    return await _records(redis, ids, HEAD)


async def _records(redis: Client, ids: list[str], names: list[str]) -> list[ThreadRecord | None]:
    pipe = redis.pipeline(transaction=False)
    for thread_id in ids:
        pipe.hmget(keys.thread(thread_id), names)
    fields = [name.encode() for name in names]
    return [
        parse_record(
            key_ring_of(redis),
            thread_id,
            {f: v for f, v in zip(fields, values, strict=True) if v is not None},
        )
        for thread_id, values in zip(ids, await pipe.execute(), strict=True)
    ]


async def _read(redis: Client, ids: list[str], *, with_state: bool) -> list[ThreadRecord]:
    records: list[ThreadRecord] = []
    await check_page(
        redis,
        [keys.thread(thread_id) for thread_id in ids],
        ["metadata", *(STATE if with_state else ())],
        max_bytes=MAX_PAGE_BYTES,
        remedy="request fewer threads with `limit`, or omit the values with `select`.",
    )
    for start in range(0, len(ids), BATCH):
        batch = await _records(
            redis, ids[start : start + BATCH], HEAD + STATE if with_state else HEAD
        )
        records += [record for record in batch if record is not None]
    return records
