"""Finds and repairs what is stuck: runs that no claim would reach, threads that are busy without a run, and deletions
that were interrupted.

Scripts change a run and everything that refers to it in one step, so normally nothing is stuck. This is for what no
script can prevent: a Redis that lost its last second in a crash, evicted keys or had keys deleted by hand, and an API
process that died between two steps.

This module only suspects runs, from several reads. The scripts check a run again, and leave a healthy one as it is.
"""

from collections import Counter
from typing import Final

import msgspec

from millstream.shared import keys, runs, scripts, threads
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus, ThreadStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason
from millstream.shared.wire import unpack_cron

BATCH: Final = 500  # runs read in one round trip
CURSOR_TTL: Final = 3600  # s
SCAN_COUNT: Final = 1000  # number of keys, approximately, that one call scans for threads


async def take_leader_lock(redis: Client, service: str, *, every: float) -> bool:
    """Returns whether the caller, of all processes, does the maintenance service now.

    `every` is the interval in seconds in which one process does it.
    """
    return bool(await redis.set(keys.leader_lock(service), 1, nx=True, px=int(every * 1000)))


async def postpone_leader_lock(redis: Client, service: str, *, by: float) -> None:
    """Keeps other processes from the service for `by` seconds, because this run of it takes long."""
    await redis.pexpire(keys.leader_lock(service), int(by * 1000))


async def repair_runs(redis: Client, *, lease_ms: int, stream_ttl: int) -> Counter[str]:
    """Checks every run that has not ended; returns the number of repairs by status (repair_run.lua)."""
    counts: Counter[str] = Counter()
    members = await redis.smembers(keys.live())  # type: ignore[misc]
    jobs = {member: keys.decode_job_id(member) for member in members}
    invalid = [member for member, job in jobs.items() if job is None]
    if invalid:
        counts["dropped"] = await redis.srem(keys.live(), *invalid)  # type: ignore[misc]
    live_jobs = [job for job in jobs.values() if job is not None]
    for job, queue in await find_stuck_runs(redis, live_jobs):
        thread_id, run_id = keys.parse_job_id(job)
        run_status = await scripts.repair_run(
            redis, job, queue, lease_ms=lease_ms, stream_ttl=stream_ttl
        )
        if run_status == "cancel":
            await runs.cancel(
                redis, thread_id, run_id, action=CancelAction.INTERRUPT, stream_ttl=stream_ttl
            )
            counts["cancelled"] += 1
        elif run_status != "fine":
            counts[run_status] += 1
        thread_status = await scripts.repair_thread(redis, thread_id)
        if thread_status != "fine":
            counts[thread_status] += 1
    return counts


async def find_stuck_runs(redis: Client, jobs: list[str]) -> list[tuple[str, str]]:
    """Returns the runs that may be stuck, each with its queue. A run that changes meanwhile may be among them."""
    suspects, unqueued, later = [], [], []
    seconds, micros = await redis.time()
    now_ms = seconds * 1000 + micros // 1000
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        pipe = redis.pipeline(transaction=False)
        for job in batch:
            pipe.hmget(keys.run(*keys.parse_job_id(job)), ["status", "cancel", "queue"])
        records = [
            [value and value.decode() for value in values] for values in await pipe.execute()
        ]
        for job, (_, _, queue) in zip(batch, records, strict=True):
            pipe.zscore(keys.queue(queue or "none"), job)
            pipe.zscore(keys.backlog(queue or "none"), job)
        scores = await pipe.execute()
        for job, (status, cancel, queue), score, listed in zip(
            batch, records, scores[::2], scores[1::2], strict=True
        ):
            if status == RunStatus.PENDING and cancel is None and score is None:
                unqueued.append((job, queue or ""))
            elif (
                status in (None, *TERMINAL)
                or score is None
                # A worker that holds the run ends it. Once its lease has lapsed, a claim does.
                or (cancel is not None and (status == RunStatus.PENDING or score <= now_ms))
                or _is_mislisted(status, listed)
            ):
                suspects.append((job, queue or ""))
            elif status == RunStatus.PENDING and score > now_ms:
                later.append((job, queue or ""))
    return suspects + await _misplaced(redis, unqueued) + await _undeferred(redis, later)


def _is_mislisted(status: str, listed: float | None) -> bool:
    """Returns whether the backlog's score of a queued run contradicts its status (claim.lua)."""
    if status == RunStatus.RUNNING:
        return listed is not None and listed >= 0
    return listed is None


async def _undeferred(redis: Client, jobs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns the runs that are due later but missing in their thread's deferred runs."""
    pipe = redis.pipeline(transaction=False)
    for job, queue in jobs:
        thread_id, run_id = keys.parse_job_id(job)
        pipe.zscore(keys.deferred(thread_id), keys.run_ref(thread_id, run_id, queue))
    scores = await pipe.execute()
    return [each for each, score in zip(jobs, scores, strict=True) if score is None]


async def _misplaced(redis: Client, jobs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns the runs that are neither queued nor waiting behind an active run."""
    thread_ids = list(dict.fromkeys(keys.parse_job_id(job)[0] for job, _ in jobs))
    pipe = redis.pipeline(transaction=False)
    for thread_id in thread_ids:
        pipe.hget(keys.thread(thread_id), "active")
        pipe.lrange(keys.waiting(thread_id), 0, -1)
    replies = await pipe.execute()
    waiting = {
        thread_id: {run_ref.decode().partition(" ")[0] for run_ref in run_refs} if active else set()
        for thread_id, active, run_refs in zip(thread_ids, replies[::2], replies[1::2], strict=True)
    }
    return [(job, q) for job, q in jobs if job not in waiting[keys.parse_job_id(job)[0]]]


async def repair_backlogs(redis: Client, *, lease_ms: int, stream_ttl: int) -> Counter[str]:
    """Removes runs that have ended from the backlogs, of each the first `BATCH` that are unserved, and of the others.

    Otherwise the figures of a queue would never return to 0. Only a worker of an earlier version leaves such a run.
    """
    counts: Counter[str] = Counter()
    for member in await redis.smembers(keys.queues()):  # type: ignore[misc]
        queue = member.decode()
        pipe = redis.pipeline(transaction=False)
        pipe.zrange(keys.backlog(queue), 0, BATCH - 1)
        pipe.zrangebyscore(keys.backlog(queue), 0, "+inf", start=0, num=BATCH)
        listed = list({job for jobs in await pipe.execute() for job in jobs})
        if not listed:
            continue
        live = await redis.smismember(keys.live(), listed)  # type: ignore[misc]
        for job_id, is_live in zip(listed, live, strict=True):
            job = keys.decode_job_id(job_id)
            if job is None:
                counts["dropped"] += await redis.zrem(keys.backlog(queue), job_id)
            elif not is_live:
                counts[
                    await scripts.repair_run(
                        redis, job, queue, lease_ms=lease_ms, stream_ttl=stream_ttl
                    )
                ] += 1
    del counts["fine"]
    return counts


async def repair_identities(redis: Client) -> Counter[str]:
    """Removes runs that have ended from the live runs of their identities, which admissions count."""
    members = await redis.zrange(keys.identities(), 0, -1)
    counts: Counter[str] = Counter()
    for start in range(0, len(members), BATCH):
        counts["forgotten"] += await scripts.forget_ended(redis, members[start : start + BATCH])
    return +counts


async def forget_queues(redis: Client) -> int:
    """Removes queues that nothing needs any more from the list of queues; returns their number.

    A run that waits for its thread is in no queue, so the queues of all runs that have not ended are kept.
    """
    names = {name.decode() for name in await redis.smembers(keys.queues())}  # type: ignore[misc]
    pipe = redis.pipeline(transaction=False)
    pipe.hvals(keys.routes())
    for name in names:
        pipe.zcard(keys.queue(name))
        pipe.zcard(keys.queue_workers(name))
    routes, *counts = await pipe.execute()
    used = {route.decode() for route in routes}
    used |= {name for name, *n in zip(names, counts[::2], counts[1::2], strict=True) if any(n)}
    if names <= used:
        return 0
    members = await redis.smembers(keys.live())  # type: ignore[misc]
    jobs = [job for job in map(keys.decode_job_id, members) if job is not None]
    for start in range(0, len(jobs), BATCH):
        for job in jobs[start : start + BATCH]:
            pipe.hget(keys.run(*keys.parse_job_id(job)), "queue")
        used |= {name.decode() for name in await pipe.execute() if name is not None}
    return sum([await scripts.forget_queue(redis, name) for name in sorted(names - used)])


async def repair_threads(redis: Client) -> Counter[str]:
    """Checks some of the threads; the next call, in any process, continues with the next threads.

    A call scans about `SCAN_COUNT` keys, so that it does not delay other commands.
    Returns the number of repairs by status (repair_thread.lua).
    """
    counts: Counter[str] = Counter()
    cursor_key = keys.leader_lock("threads")
    cursor, names = await redis.scan(
        int(await redis.get(cursor_key) or 0), match=keys.thread("*"), count=SCAN_COUNT
    )
    await redis.set(cursor_key, cursor, ex=CURSOR_TTL)
    thread_ids = [keys.thread_id_of(name.decode()) for name in names]
    for thread_id in await find_stuck_threads(redis, thread_ids):
        status = await scripts.repair_thread(redis, thread_id)
        if status != "fine":
            counts[status] += 1
    return counts


async def find_stuck_threads(redis: Client, thread_ids: list[str]) -> list[str]:
    """Returns the threads that may be stuck (repair_thread.lua). One that changes meanwhile may be among them."""
    pipe = redis.pipeline(transaction=False)
    for thread_id in thread_ids:
        pipe.hmget(keys.thread(thread_id), ["active", "status"])
        pipe.exists(keys.waiting(thread_id))
    replies = await pipe.execute()
    stuck, active_runs = [], {}
    for thread_id, (active, status), waits in zip(
        thread_ids, replies[::2], replies[1::2], strict=True
    ):
        if active is not None:
            active_runs[thread_id] = active.decode(errors="replace").split(" ")
        elif waits or status == ThreadStatus.BUSY.encode():
            stuck.append(thread_id)
    for run_ref in active_runs.values():
        # An invalid reference has no run; the script repairs its thread.
        pipe.hget(run_ref[3] if len(run_ref) > 3 else keys.run("none", "none"), "status")
        pipe.sismember(keys.live(), run_ref[0])
    replies = await pipe.execute()
    return stuck + [
        thread_id
        for thread_id, status, is_live in zip(active_runs, replies[::2], replies[1::2], strict=True)
        if not is_live or status is None or status.decode() in TERMINAL
    ]


async def finish_deletions(redis: Client, *, stream_ttl: int) -> Counter[str]:
    """Deletes the threads whose deletion was interrupted, once their runs have ended."""
    counts: Counter[str] = Counter()
    for member in await redis.smembers(keys.retired()):  # type: ignore[misc]
        thread_id = member.decode(errors="replace")
        for run_id in await redis.zrange(keys.runs(thread_id), 0, -1):
            await runs.cancel(
                redis,
                thread_id,
                run_id.decode(),
                action=CancelAction.INTERRUPT,
                stream_ttl=stream_ttl,
                reason=CancelReason.DELETED,
            )
        if await threads.delete_thread(redis, thread_id):
            counts["deleted"] += 1
        elif not await redis.exists(keys.thread(thread_id)):
            await redis.srem(keys.retired(), member)  # type: ignore[misc]
    return counts


async def drop_orphaned_crons(redis: Client) -> int:
    """Deletes the crons whose thread does not exist: it was temporary, or Redis has lost it.

    Returns the number of deleted crons.
    """
    deleted = 0
    # In one command: between two pages crons would change their ranks.
    ids = [i.decode(errors="replace") for i in await redis.zrange(keys.crons(), 0, -1)]
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        pipe = redis.pipeline(transaction=False)
        for cron_id in batch:
            pipe.hget(keys.cron(cron_id), "cron")
        of_crons = dict(zip(batch, map(_thread_of, await pipe.execute()), strict=True))
        for thread_id in of_crons.values():
            pipe.exists(keys.thread(thread_id or ""))
        replies = zip(of_crons.items(), await pipe.execute(), strict=True)
        for (cron_id, thread_id), exists in replies:
            if thread_id is not None and not exists:
                deleted += await scripts.delete_cron(redis, cron_id, thread_id, "orphaned")
    return deleted


def _thread_of(packed: bytes | None) -> str | None:
    """Returns the id of the thread that a cron runs on; None if each run gets a thread of its own."""
    try:
        return unpack_cron(packed).thread_id if packed else None
    except msgspec.MsgspecError:
        return None
