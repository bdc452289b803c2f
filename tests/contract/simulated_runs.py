"""Runs without processes: the Redis calls of an API and a worker, and nothing else."""

import asyncio
import uuid
from dataclasses import dataclass, field

from millstream.shared import keys, runs, scripts
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, RunStatus
from millstream.shared.rules.multitask import CancelAction, Strategy
from millstream.shared.scripts import Batch, Claim
from millstream.shared.threads import checkpoints, new_thread_fields
from millstream.shared.wire import PROTOCOL, RunSpec

QUEUE = "default"
TTL = 60  # s


def submission(
    thread: str, strategy: Strategy, *, run_id: str = "", delay_ms: int = 0
) -> runs.Submission:
    """Returns a request for a run that creates its thread if it does not exist."""
    spec = RunSpec(
        protocol=PROTOCOL,
        run_id=run_id or str(uuid.uuid4()),
        thread_id=thread,
        assistant_id="a",
        graph_id="g",
        queue=QUEUE,
        strategy=strategy,
        temporary=False,
        metadata=b"{}",
        kwargs=b"{}",
    )
    return runs.Submission(spec=spec, delay_ms=delay_ms, new_thread=new_thread_fields({}))


async def submit(
    redis: Client,
    thread: str,
    strategy: Strategy = Strategy.ENQUEUE,
    *,
    run_id: str = "",
    delay_ms: int = 0,
) -> runs.RunRecord:
    """Admits a run as the API does."""
    request = submission(thread, strategy, run_id=run_id, delay_ms=delay_ms)
    return await runs.submit(redis, request, stream_ttl=TTL)


async def claim(redis: Client, thread: str, run: str, *, lease_ms: int = 60_000) -> Claim | None:
    """Claims a run as a worker does."""
    return await scripts.claim(
        redis, keys.job_id(thread, run), QUEUE,
        worker="w", token=uuid.uuid4().hex, graphs=["g"],
        lease_ms=lease_ms, max_attempts=3, events_ttl=TTL,
    )  # fmt: skip


async def claim_due(redis: Client, thread: str, run: str) -> Claim:
    """Claims a run that is due."""
    claimed = await claim(redis, thread, run)
    assert claimed is not None
    return claimed


async def finish(redis: Client, claimed: Claim, cause: Cause = Cause.SUCCEEDED) -> RunStatus | None:
    """Ends a run under its fence. A requested cancel takes precedence, as in a worker."""
    spec, fence = claimed.spec, claimed.fence
    if cause is not Cause.CANCELLED:
        status = await scripts.finish(redis, spec, cause, fence=fence, stream_ttl=TTL)
        if status is not None:
            return status
    action = await runs.cancel_action(redis, spec.thread_id, spec.run_id)
    if action is CancelAction.ROLLBACK:
        await checkpoints.roll_back(redis, claimed)
    return await scripts.finish(redis, spec, Cause.CANCELLED, fence=fence, stream_ttl=TTL)


async def status(redis: Client, thread: str, run: str) -> str:
    """Returns the run's status; `gone` if the run does not exist."""
    record = await runs.find_run(redis, thread, run)
    return "gone" if record is None else record.status.value


async def ends(redis: Client, thread: str, run: str) -> int:
    """Returns how many `end` events the run's stream has."""
    entries = await redis.xrange(keys.events(thread, run))
    return sum(b"end" in fields for _, fields in entries)


async def waiting(redis: Client, thread: str) -> list[str]:
    """Returns the ids of the waiting runs, in their order."""
    run_refs = await redis.lrange(keys.waiting(thread), 0, -1)  # type: ignore[misc]
    return [keys.parse_job_id(run_ref.decode().split()[0])[1] for run_ref in run_refs]


async def leftovers(redis: Client, thread: str) -> list[str]:
    """Returns what is left of runs on a thread whose runs have all ended."""
    left = []
    if await redis.zcard(keys.queue(QUEUE)):
        left.append("queue")
    if await redis.scard(keys.live()):  # type: ignore[misc]
        left.append("live")
    if await redis.exists(keys.waiting(thread)):
        left.append("waiting")
    if await redis.hexists(keys.thread(thread), "active"):  # type: ignore[misc]
        left.append("active")
    if await redis.hget(keys.thread(thread), "status") == b"busy":  # type: ignore[misc]
        left.append("busy")
    return left


@dataclass
class Pool:
    """Workers that claim due runs, hold each for a moment and end it."""

    redis: Client
    executed: list[str] = field(default_factory=list)  # run ids in the order of their claims
    ended: list[str] = field(default_factory=list)  # run ids, one a finish that counted
    at_once: int = 0
    max_at_once: int = 0  # runs that were held at the same time

    async def drain(self, workers: int = 5) -> None:
        """Executes runs until none is alive."""
        await asyncio.gather(*(self._work() for _ in range(workers)))

    async def _work(self) -> None:
        while await self.redis.scard(keys.live()):  # type: ignore[misc]
            due, _ = await scripts.find_due(self.redis, QUEUE, 10)
            for job in due:
                claimed = await claim(self.redis, *keys.parse_job_id(job))
                if claimed is not None:
                    await self._execute(claimed)
            await asyncio.sleep(0)

    async def _execute(self, claimed: Claim) -> None:
        self.at_once += 1
        self.max_at_once = max(self.max_at_once, self.at_once)
        if claimed.cancel is None:
            self.executed.append(claimed.spec.run_id)
            await scripts.append(self.redis, [Batch(claimed, 1, ["custom", "{}"])], max_events=100)
            cause = Cause.SUCCEEDED
        else:
            cause = Cause.CANCELLED
        self.at_once -= 1  # before the end, because the next run may start with it
        if await finish(self.redis, claimed, cause) is not None:
            self.ended.append(claimed.spec.run_id)
