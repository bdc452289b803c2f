"""Finds runs for an operator: the live ones, those that do not move, and the thread of a run."""

from collections.abc import Sequence
from typing import Any, Final

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.runs.records import RunRecord, find_runs, stateless_thread_id
from millstream.shared.runs.situation import Situation, read_situation

SCAN_COUNT: Final = 1000  # members that one call reads
MAX_SCANNED: Final = 100_000  # live runs that a search reads
OLD_SECONDS: Final = 10.0  # for which a run is due until it counts as stuck


async def list_live(
    redis: Client, *, status: RunStatus | None, limit: int
) -> tuple[list[RunRecord], int]:
    """Returns at most `limit` runs that have not ended, oldest first, and the number of all.

    It reads no more live runs than it needs, so beyond the limit these are not the oldest of all.
    """
    total = int(await redis.scard(keys.live()))  # type: ignore[misc]
    records: list[RunRecord] = []
    cursor: Any = 0
    for _ in range(MAX_SCANNED // SCAN_COUNT):
        cursor, members = await redis.sscan(keys.live(), cursor, count=min(SCAN_COUNT, limit))
        jobs = [job for job in map(keys.decode_job_id, members) if job is not None]
        read = await find_runs(redis, list(map(keys.parse_job_id, jobs)))
        records += [record for record in read if status in (None, record.status)]
        if not cursor or len(records) >= limit:
            break
    unique = {record.spec.run_id: record for record in records}  # a scan may repeat a member
    return sorted(unique.values(), key=lambda record: record.created_at)[:limit], total


async def find_thread(redis: Client, run_id: str) -> str | None:
    """Returns the id of the thread of a run; None if the run is unknown.

    It finds a stateless run, a run that has stored checkpoints, and any run that has not ended.
    """
    stateless = stateless_thread_id(run_id)
    pipe: Any = redis.pipeline(transaction=False)
    pipe.exists(keys.run(stateless, run_id))
    first = b"[" + keys.run_in_thread(run_id, "").encode()
    pipe.zrangebylex(keys.runs_with_checkpoints(), first, first + b"\xff", start=0, num=10)
    exists, members = await pipe.execute()
    if exists:
        return stateless
    threads: list[str] = [member.decode().partition("\0")[2] for member in members]
    for thread_id in threads:  # copies of a thread have the run's checkpoints, but not the run
        if await redis.exists(keys.run(thread_id, run_id)):
            return thread_id
    cursor: Any = 0
    for _ in range(MAX_SCANNED // SCAN_COUNT):
        cursor, members = await redis.sscan(keys.live(), cursor, count=SCAN_COUNT)
        for job in map(keys.decode_job_id, members):
            thread_id, its_run_id = keys.parse_job_id(job) if job is not None else ("", "")
            if its_run_id == run_id:
                return thread_id
        if not cursor:
            break
    return None


async def find_stuck(redis: Client, queues: Sequence[str], *, limit: int) -> list[Situation]:
    """Returns runs that have been due for `OLD_SECONDS` and that no worker holds, the first to become due first.

    It looks at `limit` runs of each queue that no worker could execute, as many others that are due, and twice as many
    that are due without a tag, among which lapsed leases are. Returns at most `limit`.
    """
    seconds, _ = await redis.time()
    old = (seconds - OLD_SECONDS) * 1000
    pipe: Any = redis.pipeline(transaction=False)
    for queue in queues:
        backlog = keys.backlog(queue)
        # These scores are negative: the first run that became due has the highest.
        pipe.zrevrangebyscore(backlog, "(0", "-inf", start=0, num=limit, withscores=True)
        pipe.zrangebyscore(backlog, 0, old, start=0, num=limit, withscores=True)
        pipe.zrangebyscore(keys.queue(queue), 0, old, start=0, num=2 * limit, withscores=True)
    since: dict[bytes, float] = {}
    for reply in await pipe.execute():
        for member, score in reply:
            since[member] = min(abs(score), since.get(member, abs(score)))
    stuck: list[Situation] = []
    for member in sorted(since, key=lambda each: since[each]):
        job = keys.decode_job_id(member)
        if job is None or len(stuck) >= limit:
            continue
        situation = await read_situation(redis, *keys.parse_job_id(job))
        if situation is not None and _is_stuck(situation, old):
            stuck.append(situation)
    return stuck


def _is_stuck(run: Situation, old: float) -> bool:
    """Returns whether the run has been due since `old` (ms), and no worker holds it."""
    if run.due is None:
        return False
    return (run.due if run.listed is None else abs(run.listed)) <= old
