"""Reads the facts about queues, workers, graphs, runs and threads. It writes nothing."""

import asyncio
from collections import Counter
from typing import Any, Final

from millstream.shared import keys, repair
from millstream.shared.api_keys.records import list_keys
from millstream.shared.assistants.directory import list_graphs
from millstream.shared.checks.facts import GraphState, KeyRing, Lapsed, OtherKeys, Stuck
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client

MAX_RUNS: Final = 5_000  # that are checked
MAX_SCANNED: Final = 20_000  # keys
SCAN_COUNT: Final = 1_000  # keys, approximately, of one call
MAX_DUE: Final = 1_000  # due jobs of a queue without a tag among which lapsed leases are counted
MAX_PREFIX_CHARS: Final = 40
AGAIN_SECONDS: Final = (
    0.5  # until what looks stuck is read again: a healthy run has changed by then
)
# Keys of langgraph-checkpoint-redis, which CHECKPOINTER=langgraph-redis uses.
OF_THE_LIBRARY: Final = frozenset(
    {"checkpoint", "checkpoint_write", "checkpoint_latest", "write_keys_zset"}
)


async def read_graphs(redis: Client) -> tuple[GraphState, ...]:
    """Reads the announced graphs, and which of them a live worker serves."""
    graphs = await list_graphs(redis)
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    for info in graphs:
        pipe.zrange(keys.workers(keys.call_queue(info.graph_id)), -1, -1, withscores=True)
    (seconds, micros), *newest = await pipe.execute()
    now = seconds + micros / 1e6
    states = []
    for info, workers in zip(graphs, newest, strict=True):
        expires = workers[0][1] if workers else None
        is_served = expires is not None and expires > now
        unserved_for = 0.0 if is_served or expires is None else now - expires
        states.append(GraphState(info.graph_id, info.queue, is_served, unserved_for))
    return tuple(states)


async def read_lapsed(redis: Client) -> tuple[Lapsed, ...]:
    """Counts the lapsed leases of each queue, among its first `MAX_DUE` due jobs without a tag (parts/fair_queue.lua).

    A due job that is not in the backlog is a run whose lease has lapsed.
    """
    now_ms = int(await redis_time(redis) * 1000)
    lapsed = []
    for member in await redis.smembers(keys.queues()):  # type: ignore[misc]
        queue = member.decode()
        due = await redis.zrangebyscore(
            keys.queue(queue), 0, now_ms, start=0, num=MAX_DUE, withscores=True
        )
        if not due:
            continue
        jobs: Any = [job for job, _ in due]
        listed = await redis.zmscore(keys.backlog(queue), jobs)
        since = [score for (_, score), listing in zip(due, listed, strict=True) if listing is None]
        if since:
            lapsed.append(Lapsed(queue, len(since), (now_ms - min(since)) / 1000))
    return tuple(sorted(lapsed, key=lambda each: each.queue))


async def read_key_ring(redis: Client) -> KeyRing:
    """Reads the records of all API keys."""
    records = await list_keys(redis, forgets=False)
    return KeyRing(tuple(records), int(await redis_time(redis) * 1e6))


async def scan(redis: Client) -> tuple[OtherKeys, list[str]]:
    """Scans the first keys of the database; returns those of others, and the ids of the threads among them."""
    prefixes: Counter[str] = Counter()
    thread_ids, cursor, scanned = [], 0, 0
    begin, end = keys.thread("*").split("*")
    while True:
        cursor, names = await redis.scan(cursor, count=SCAN_COUNT)
        scanned += len(names)
        for name in (each.decode(errors="replace") for each in names):
            if name.startswith(begin) and name.endswith(end):
                thread_ids.append(keys.thread_id_of(name))
            elif not name.startswith(f"{keys.PREFIX}:"):
                prefix = name.partition(":")[0][:MAX_PREFIX_CHARS]
                if prefix not in OF_THE_LIBRARY:
                    prefixes[prefix] += 1
        if cursor == 0 or scanned >= MAX_SCANNED:
            return OtherKeys(prefixes, scanned), thread_ids


async def read_stuck(redis: Client, thread_ids: list[str]) -> Stuck:
    """Finds runs and threads that the reaper would repair, of the first `MAX_RUNS` runs and of these threads.

    What looks stuck is read again a moment later: only what looks stuck twice counts.
    """
    members = await redis.smembers(keys.live())  # type: ignore[misc]
    jobs = [job for job in map(keys.decode_job_id, members) if job is not None][:MAX_RUNS]
    runs = [job for job, _ in await repair.find_stuck_runs(redis, jobs)]
    threads = await repair.find_stuck_threads(redis, thread_ids)
    if runs or threads:
        await asyncio.sleep(AGAIN_SECONDS)
        # A run that ended meanwhile is live no more, and its record may be deleted.
        still = await redis.smismember(keys.live(), runs) if runs else []  # type: ignore[misc]
        runs = [job for job, is_live in zip(runs, still, strict=True) if is_live]
        runs = [job for job, _ in await repair.find_stuck_runs(redis, runs)]
        threads = await repair.find_stuck_threads(redis, threads)
    deletions = len(await redis.smembers(keys.retired()))  # type: ignore[misc]
    return Stuck(tuple(sorted(runs)), tuple(sorted(threads)), deletions)
