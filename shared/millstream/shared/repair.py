"""Finding what is stuck, and putting it right: runs that nobody would move on, threads that are busy
without a run, deletions that broke off.

Scripts change a run and all that speaks of it in one step, so this finds nothing in ordinary life.
It is for what no script can rule out: a Redis that came back without its last second, that evicted
keys, or in which somebody deleted some; and an API that died between two of its steps.

What is found here is a mere suspicion, made of several reads. The scripts look again, and leave a
healthy run alone.
"""

from collections import Counter
from typing import Final

from millstream.shared import keys, runs, scripts, threads
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason

BATCH: Final = 500  # runs looked at in one round trip
CURSOR_TTL: Final = 3600  # s
SCANNED: Final = 1000  # keys, about, that one call looks through for threads


async def take_leader_lock(redis: Client, service: str, *, every: float) -> bool:
    """Returns whether the caller is the one, of all processes, to do the service now.

    `every` is the interval in seconds in which one of them does it.
    """
    return bool(await redis.set(keys.leader_lock(service), 1, nx=True, px=int(every * 1000)))


async def postpone_leader_lock(redis: Client, service: str, *, by: float) -> None:
    """Has nobody do the service for `by` seconds, as doing it takes long."""
    await redis.pexpire(keys.leader_lock(service), int(by * 1000))


async def repair_runs(redis: Client, *, lease_ms: int, stream_ttl: int) -> Counter[str]:
    """Looks at every run that has not ended; returns what was done (repair_run.lua), how often."""
    done: Counter[str] = Counter()
    found = {word: keys.decode_job_id(word) for word in await redis.smembers(keys.live())}  # type: ignore[misc]
    junk = [word for word, job in found.items() if job is None]
    if junk:
        done["dropped"] = await redis.srem(keys.live(), *junk)  # type: ignore[misc]
    for job, queue in await _suspects(redis, [job for job in found.values() if job is not None]):
        thread_id, run_id = keys.parse_job_id(job)
        of_run = await scripts.repair_run(
            redis, job, queue, lease_ms=lease_ms, stream_ttl=stream_ttl
        )
        if of_run == "cancel":
            await runs.cancel(
                redis, thread_id, run_id, action=CancelAction.INTERRUPT, stream_ttl=stream_ttl
            )
            done["cancelled"] += 1
        elif of_run != "fine":
            done[of_run] += 1
        of_thread = await scripts.repair_thread(redis, thread_id)
        if of_thread != "fine":
            done[of_thread] += 1
    return done


async def _suspects(redis: Client, jobs: list[str]) -> list[tuple[str, str]]:
    """Returns the runs that may be stuck, each with its queue."""
    suspects, unqueued, later = [], [], []
    seconds, _ = await redis.time()
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        pipe = redis.pipeline(transaction=False)
        for job in batch:
            pipe.hmget(keys.run(*keys.parse_job_id(job)), ["status", "cancel", "queue"])
        records = [[word and word.decode() for word in found] for found in await pipe.execute()]
        for job, (_, _, queue) in zip(batch, records, strict=True):
            pipe.zscore(keys.queue(queue or "none"), job)
        scores = await pipe.execute()
        for job, (status, cancel, queue), score in zip(batch, records, scores, strict=True):
            if status == RunStatus.PENDING and cancel is None and score is None:
                unqueued.append((job, queue or ""))
            elif status in (None, *TERMINAL) or score is None or cancel is not None:
                suspects.append((job, queue or ""))
            elif status == RunStatus.PENDING and score > seconds * 1000:
                later.append((job, queue or ""))
    return suspects + await _misplaced(redis, unqueued) + await _unnoted(redis, later)


async def _unnoted(redis: Client, jobs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns those that are due later and that their thread does not know of."""
    pipe = redis.pipeline(transaction=False)
    for job, queue in jobs:
        thread_id, run_id = keys.parse_job_id(job)
        pipe.zscore(keys.deferred(thread_id), keys.run_ref(thread_id, run_id, queue))
    return [each for each, noted in zip(jobs, await pipe.execute(), strict=True) if noted is None]


async def _misplaced(redis: Client, jobs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns those that do not wait behind an active run, as a run does that is not queued."""
    found = list(dict.fromkeys(keys.parse_job_id(job)[0] for job, _ in jobs))
    pipe = redis.pipeline(transaction=False)
    for thread_id in found:
        pipe.hget(keys.thread(thread_id), "active")
        pipe.lrange(keys.waiting(thread_id), 0, -1)
    replies = await pipe.execute()
    waiting = {
        thread_id: {run_ref.decode().partition(" ")[0] for run_ref in run_refs} if active else set()
        for thread_id, active, run_refs in zip(found, replies[::2], replies[1::2], strict=True)
    }
    return [(job, q) for job, q in jobs if job not in waiting[keys.parse_job_id(job)[0]]]


async def repair_threads(redis: Client) -> Counter[str]:
    """Looks at some of the threads, from where the last call of any process stopped.

    Returns what was done (repair_thread.lua), how often. Reads about `SCANNED` keys a call, so
    that Redis is not held up by it.
    """
    done: Counter[str] = Counter()
    place = keys.leader_lock("threads")
    cursor, names = await redis.scan(
        int(await redis.get(place) or 0), match=keys.thread("*"), count=SCANNED
    )
    await redis.set(place, cursor, ex=CURSOR_TTL)
    for name in names:
        thread_id = keys.thread_id_of(name.decode())
        word = await scripts.repair_thread(redis, thread_id)
        if word != "fine":
            done[word] += 1
    return done


async def finish_deletions(redis: Client, *, stream_ttl: int) -> Counter[str]:
    """Goes on with threads whose deletion broke off, once their runs have ended."""
    done: Counter[str] = Counter()
    for word in await redis.smembers(keys.retired()):  # type: ignore[misc]
        thread_id = word.decode(errors="replace")
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
            done["deleted"] += 1
        elif not await redis.exists(keys.thread(thread_id)):
            await redis.srem(keys.retired(), word)  # type: ignore[misc]
    return done
