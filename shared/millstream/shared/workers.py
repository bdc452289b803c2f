"""The workers: what each reports about itself, and whether it is live, draining or lost.

A worker is in a sorted set of each queue that it reads, with the time until which its latest report is valid, and has
a record (`wire.WorkerRecord`). Both are written in one round trip. A read costs as many commands as there are queues,
and one command for the records of all workers.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from millstream.shared import keys
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.wire import WorkerRecord, pack, unpack_worker

LOST_SECONDS: Final = (
    60.0  # for which a worker that stopped to report counts as lost; then it is forgotten
)
MAX_WORKERS: Final = 1000  # of a queue that are read: the latest reports


class WorkerState(StrEnum):
    """Whether a worker works."""

    LIVE = "live"  # it claims runs
    DRAINING = "draining"  # it claims no runs, and ends once its runs have ended or are handed back
    LOST = (
        "lost"  # it stopped to report, without leaving: it died, stands still, or can't reach Redis
    )


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as it last reported."""

    record: WorkerRecord
    state: WorkerState

    def serves(self, graph_id: str, protocol: int) -> bool:
        """Returns whether it can execute a run of the graph whose record has that protocol (claim.lua).

        A worker that has no record may serve any graph.
        """
        if not self.record.version:
            return True
        return graph_id in self.record.graphs and protocol <= self.record.protocol


async def report(
    redis: Client, worker: WorkerRecord, call_queues: Sequence[str], *, now: float, ttl: float
) -> None:
    """Reports that the worker works, in its queues and call queues, and removes workers that were lost long ago.

    Args:
        now: Redis time in seconds (redis_time).
        ttl: seconds for which this report is valid.
    """
    name = worker.worker_id
    pipe = redis.pipeline(transaction=False)
    pipe.set(keys.worker(name), pack(worker), px=max(1, int((ttl + LOST_SECONDS) * 1000)))
    if worker.queues:
        pipe.sadd(keys.queues(), *worker.queues)
    for key in _memberships(worker, call_queues):
        pipe.zadd(key, {name: now + ttl})
        pipe.zremrangebyscore(key, "-inf", now - LOST_SECONDS)
    await pipe.execute()


async def leave(redis: Client, worker: WorkerRecord, call_queues: Sequence[str]) -> None:
    """Reports that the worker works no more.

    Its entries in the call queues stay, so that the API sees when a queue lost its last worker.
    """
    now = await redis_time(redis)
    pipe = redis.pipeline(transaction=False)
    for queue in call_queues:
        pipe.zadd(keys.workers(queue), {worker.worker_id: now}, xx=True)
    for queue in worker.queues:
        pipe.zrem(keys.queue_workers(queue), worker.worker_id)
    pipe.delete(keys.worker(worker.worker_id))
    await pipe.execute()


def _memberships(worker: WorkerRecord, call_queues: Sequence[str]) -> list[str]:
    """Returns the keys of the sorted sets that the worker is in."""
    return [*map(keys.workers, call_queues), *map(keys.queue_workers, worker.queues)]


async def live_workers(redis: Client, call_queue: str) -> tuple[int, float]:
    """Returns the number of live workers of the call queue, and the current time (s, Redis time)."""
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.zrange(keys.workers(call_queue), 0, -1, withscores=True)
    (seconds, micros), workers = await pipe.execute()
    now = seconds + micros / 1e6
    return sum(expires > now for _, expires in workers), now


async def read_workers(redis: Client) -> list[Worker]:
    """Returns the workers of all queues, sorted by id, in three round trips."""
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.smembers(keys.queues())
    (seconds, micros), names = await pipe.execute()
    now = seconds + micros / 1e6
    queues = sorted(name.decode() for name in names)
    for queue in queues:
        send_members(pipe, queue, now)
    reports = Reports(now, dict(zip(queues, await pipe.execute() if queues else [], strict=True)))
    reports.send_records(pipe)
    return reports.workers(await pipe.execute())


def workers_of(workers: Iterable[Worker], queue: str) -> list[Worker]:
    """Returns the workers that execute runs of the queue."""
    return [worker for worker in workers if queue in worker.record.queues]


def send_members(pipe: Any, queue: str, now: float) -> None:
    """Sends the command that reads the workers of a queue, for `Reports`."""
    pipe.zrevrangebyscore(
        keys.queue_workers(queue),
        "+inf",
        f"({now - LOST_SECONDS}",
        start=0,
        num=MAX_WORKERS,
        withscores=True,
    )


class Reports:
    """The workers of some queues, of which the records are still to be read."""

    def __init__(self, now: float, members: Mapping[str, Iterable[tuple[bytes, float]]]) -> None:
        """`now` is in seconds (Redis time), `members` are the replies to `send_members`, by queue."""
        self._now = now
        self._valid_until: dict[str, float] = {}
        self._queues: dict[str, list[str]] = {}
        for queue, workers in members.items():
            for member, valid_until in workers:
                name = member.decode(errors="replace")
                self._valid_until[name] = max(valid_until, self._valid_until.get(name, valid_until))
                self._queues.setdefault(name, []).append(queue)
        self._names = sorted(self._queues)

    def send_records(self, pipe: Any) -> None:
        """Sends one command, or none without any worker."""
        if self._names:
            pipe.mget([keys.worker(name) for name in self._names])

    def workers(self, replies: Sequence[list[bytes | None]]) -> list[Worker]:
        """Returns the workers, sorted by id. `replies` are those to `send_records`."""
        records = replies[0] if self._names else []
        return [
            self._worker(name, packed) for name, packed in zip(self._names, records, strict=True)
        ]

    def _worker(self, name: str, packed: bytes | None) -> Worker:
        record = WorkerRecord(worker_id=name, queues=self._queues[name])
        if packed is not None:
            with suppress(msgspec.MsgspecError):  # of another version: id and queues are known
                record = unpack_worker(packed)
        state = WorkerState.LIVE if record.draining_since is None else WorkerState.DRAINING
        return Worker(record, state if self._valid_until[name] > self._now else WorkerState.LOST)
