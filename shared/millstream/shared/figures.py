"""The state of all queues, as operators and autoscalers see it.

What a read costs depends on the number of queues, graphs and workers alone: Redis answers each command from a count
that it keeps, or from the first entry of a sorted set. Of workers it reads the records, because each counts its slots
itself: some 300 bytes, and 150 for each run in a slot, in one command of a round trip that is made anyway.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from redis.exceptions import ResponseError

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import ThreadStatus
from millstream.shared.scripts.queues.pause_queue import FIELDS, Pause, parse_pause
from millstream.shared.wire import unpack_graph
from millstream.shared.workers import Reports, Worker, WorkerState, send_members, workers_of

CACHE_SECONDS: Final = 2.0  # until the figures are read again
HEAD: Final = 32  # due jobs of a queue without a tag among which a lapsed lease is looked for


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """The state of one queue, or the sum of all; ages are 0 if there is no such run."""

    due: int = 0
    """Runs that wait for a worker now, without those in `unserved`."""
    deferred: int = 0
    """Runs that become due later."""
    running: int = 0
    """Runs that a worker holds, or held until its lease lapsed."""
    unserved: int = 0
    """Runs that the workers which tried could not execute: they lack the graph, or are too old."""
    oldest_due_age: float = 0.0
    """Seconds since the first of `due` became due, or since the first lease lapsed, whichever is longer."""
    oldest_unserved_age: float = 0.0
    """Seconds since the first of `unserved` became due."""
    workers: int = 0
    """Live workers that claim runs of the queue."""
    lost_workers: int = 0
    """Workers that stopped to report in the last minute, without leaving."""
    draining_workers: int = 0
    """Workers that claim no more runs, and end once theirs have ended."""
    slots: int = 0
    """Runs that the live workers can execute at the same time. A worker of several queues counts in each."""
    busy_slots: int = 0
    """Runs, of whichever queue, that the live workers execute now."""
    median_due_age: float = 0.0
    """Seconds since the median of `due` became due: half of them wait longer."""
    held_up: int = 0
    """Those of `due` and `running` that no worker may claim now, because their queue is paused."""
    oldest_claimable_age: float = 0.0
    """As `oldest_due_age`, without queues that are paused."""
    paused: int = 0
    """1 if the queue is paused, else 0; of several queues, the number of those that are paused."""

    @property
    def in_flight(self) -> int:
        """Runs that occupy a worker, or would if there was one: `due` and `running` without `held_up`."""
        return self.due + self.running - self.held_up

    def __add__(self, other: "QueueFigures") -> "QueueFigures":
        """Returns the sum; of ages, the longer."""
        return QueueFigures(
            *(
                max(pair) if name.endswith("_age") else sum(pair)
                for name, pair in (
                    (field.name, (getattr(self, field.name), getattr(other, field.name)))
                    for field in fields(self)
                )
            )
        )


@dataclass(frozen=True, slots=True)
class Backlog:
    """Things that are due, and the seconds since the first became due (0 without any)."""

    due: int
    oldest_age: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The state of everything, at one time."""

    queues: dict[str, QueueFigures]
    workers: list[Worker]
    """The workers of all queues, sorted by id."""
    graphs: dict[str, str]
    """The queue that each announced graph is routed to."""
    waiting: int
    """Runs that wait for another run of their thread."""
    threads: dict[str, int]
    """Indexed threads by status."""
    call_queues: dict[str, int]
    """Waiting calls by graph; `store` is the long-term store."""
    webhooks: Backlog
    crons: Backlog
    garbage: int
    """Deleted threads whose checkpoints still exist."""
    memory: dict[str, int]
    """What INFO says: used_memory, maxmemory, evicted_keys. Empty if the Redis user may not use INFO."""
    pauses: dict[str, Pause] = field(default_factory=dict)
    """The paused queues."""

    @property
    def total(self) -> QueueFigures:
        """The sum of all queues; a worker of several queues counts once."""
        return replace(sum(self.queues.values(), QueueFigures()), **_count_workers(self.workers))


async def read_figures(redis: Client) -> Figures:
    """Reads all figures in three round trips; raises redis-py's errors if Redis is unavailable."""
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.smembers(keys.queues())
    pipe.hvals(keys.graphs())
    pipe.hgetall(keys.routes())
    (seconds, micros), names, announced, routes = await pipe.execute()
    now = seconds + micros / 1e6
    queues = sorted(name.decode() for name in names)
    graphs = {info.graph_id: info.queue for info in map(unpack_graph, announced)}
    graphs |= {name: queue for name, queue in _texts(routes) if name in graphs}
    call_queues = [keys.STORE, *sorted(map(keys.call_queue, graphs))]
    for name in queues:
        _send_queue(pipe, name, now)
    for status in ThreadStatus:
        pipe.scard(keys.threads_of(status))
    for call_queue in call_queues:
        pipe.llen(keys.calls(call_queue))
    for index in (keys.deliveries(), keys.crons()):
        pipe.zcount(index, "-inf", _ms(now))
        pipe.zrange(index, 0, 0, withscores=True)
    pipe.zcard(keys.garbage())
    pipe.scard(keys.live())
    pipe.info("memory")
    pipe.info("stats")
    replies = await pipe.execute(raise_on_error=False)
    memory = _memory(replies[-2:])
    values = iter(replies[:-2])

    def take(count: int) -> list[Any]:
        taken = [next(values) for _ in range(count)]
        for reply in taken:
            if isinstance(reply, Exception):
                raise reply
        return taken

    by_queue = {name: take(PER_QUEUE) for name in queues}
    threads = dict(zip(map(str, ThreadStatus), take(len(ThreadStatus)), strict=True))
    calls = dict(zip(call_queues, take(len(call_queues)), strict=True))
    webhooks, crons = _backlog(take(2), now), _backlog(take(2), now)
    garbage, live = take(2)
    reports = Reports(now, {name: replies[-1] for name, replies in by_queue.items()})
    pauses = {name: parse_pause(replies[-2]) for name, replies in by_queue.items()}
    heads = {name: replies[4] for name, replies in by_queue.items()}
    ranks = {name: replies[3] + replies[1] // 2 for name, replies in by_queue.items()}
    lapsed, medians, workers = await _read_rest(redis, heads, ranks, reports)
    return Figures(
        queues={
            name: _queue(replies, lapsed[name], medians.get(name), workers_of(workers, name), now)
            for name, replies in by_queue.items()
        },
        pauses={name: pause for name, pause in pauses.items() if pause is not None},
        workers=workers,
        graphs=graphs,
        # A run may move between two commands of a pipeline.
        waiting=max(0, live - sum(replies[0] for replies in by_queue.values())),
        threads=threads,
        call_queues=calls,
        webhooks=webhooks,
        crons=crons,
        garbage=garbage,
        memory=memory,
    )


PER_QUEUE: Final = 10  # commands that `_send_queue` sends


def _send_queue(pipe: Any, name: str, now: float) -> None:
    """Sends the commands whose replies `_queue` takes."""
    queue, backlog = keys.queue(name), keys.backlog(name)
    now_ms = _ms(now)
    pipe.zcard(queue)
    pipe.zcount(backlog, 0, now_ms)
    pipe.zcount(backlog, f"({now_ms}", "+inf")
    pipe.zcount(backlog, "-inf", "(0")
    pipe.zrangebyscore(queue, 0, now_ms, start=0, num=HEAD, withscores=True)
    pipe.zrangebyscore(backlog, 0, now_ms, start=0, num=1, withscores=True)
    # These scores are negative: the first run that became due has the highest.
    pipe.zrange(backlog, "(0", "-inf", desc=True, byscore=True, offset=0, num=1, withscores=True)
    pipe.zcount(queue, f"({now_ms}", "+inf")
    pipe.hmget(keys.paused(name), FIELDS)
    send_members(pipe, name, now)


def _queue(
    replies: list[Any],
    lapsed: float | None,
    median: float | None,
    workers: list[Worker],
    now: float,
) -> QueueFigures:
    queued, due, deferred, unserved, _, first_due, first_unserved, later, pause, _ = replies
    is_paused = parse_pause(pause) is not None
    since = [score for _, score in first_due] + ([] if lapsed is None else [lapsed])
    age = _age(min(since, default=None), now)
    running = max(0, queued - due - deferred - unserved)
    # No claim raises the scores of a paused queue, so the jobs that are due later are deferred, or have a lease.
    leased = min(running, max(0, later - deferred))
    return QueueFigures(
        due=due,
        deferred=deferred,
        running=running,
        unserved=unserved,
        oldest_due_age=age,
        median_due_age=_age(median if due else None, now),
        oldest_unserved_age=_age(-first_unserved[0][1] if first_unserved else None, now),
        held_up=due + running - leased if is_paused else 0,
        oldest_claimable_age=0.0 if is_paused else age,
        paused=int(is_paused),
        **_count_workers(workers),
    )


def _count_workers(workers: Iterable[Worker]) -> dict[str, int]:
    """Returns the figures of a queue that its workers give."""
    by_state: Counter[WorkerState] = Counter()
    slots = busy = 0
    for worker in workers:
        by_state[worker.state] += 1
        if worker.state is WorkerState.LIVE:
            slots += worker.record.slots
            busy += len(worker.record.runs)
    return {
        "workers": by_state[WorkerState.LIVE],
        "draining_workers": by_state[WorkerState.DRAINING],
        "lost_workers": by_state[WorkerState.LOST],
        "slots": slots,
        "busy_slots": busy,
    }


async def _read_rest(
    redis: Client,
    heads: dict[str, list[tuple[bytes, float]]],
    ranks: dict[str, int],
    reports: Reports,
) -> tuple[dict[str, float | None], dict[str, float], list[Worker]]:
    """Reads what depends on earlier replies.

    Returns for each queue when the first of its lapsed leases lapsed (ms) and when its median due run became due (ms),
    which has this rank in the backlog. Returns the workers of all queues too.

    Of a queue, it looks for lapsed leases at the first due jobs without a tag alone (parts/fair_queue.lua). A due
    job that is not in the backlog is one with a lapsed lease. `HEAD` jobs suffice: a job in the backlog is due in the
    queue no earlier than in the backlog, so a later lapse does not change the age of the queue, unless all `HEAD` jobs
    are unserved.
    """
    filled = [name for name, head in heads.items() if head]
    pipe = redis.pipeline(transaction=False)
    for name in filled:
        jobs: list[Any] = [job for job, _ in heads[name]]
        pipe.zmscore(keys.backlog(name), jobs)
    for name, rank in ranks.items():
        pipe.zrange(keys.backlog(name), rank, rank, withscores=True)
    reports.send_records(pipe)
    rest = iter(await pipe.execute())
    replies = {name: next(rest) for name in filled}
    medians = {name: score for name in ranks for _, score in next(rest)}
    lapsed = {
        name: next(
            (
                lapsed_at
                for (_, lapsed_at), listed in zip(head, replies.get(name, []), strict=True)
                if listed is None
            ),
            None,
        )
        for name, head in heads.items()
    }
    return lapsed, medians, reports.workers(list(rest))


def _texts(fields: dict[bytes, bytes]) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in fields.items()]


def _backlog(replies: list[Any], now: float) -> Backlog:
    due, first = replies
    return Backlog(due, _age(first[0][1] if due and first else None, now))


def _age(since_ms: float | None, now: float) -> float:
    return 0.0 if since_ms is None else max(0.0, round(now - since_ms / 1000, 3))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _memory(replies: list[Any]) -> dict[str, int]:
    """Returns the figures of INFO; nothing if the Redis user may not use it, or the server does not have it."""
    values: dict[str, int] = {}
    for reply in replies:
        if isinstance(reply, ResponseError):
            continue
        if isinstance(reply, Exception):
            raise reply
        names = ("used_memory", "maxmemory", "evicted_keys")
        values |= {name: int(reply[name]) for name in names if name in reply}
    return values


class FiguresCache:
    """The figures as one process last read them: at most `CACHE_SECONDS` old, and read by one caller at a time."""

    def __init__(self, redis: Client) -> None:
        """Reads nothing yet."""
        self._redis = redis
        self._reading = asyncio.Lock()
        self._figures: Figures | None = None
        self._read_at = 0.0  # monotonic
        self._changes = self._seen_changes = 0  # counted: one may happen during a read

    async def read(self) -> Figures:
        """Returns the figures; raises redis-py's errors if Redis is unavailable and they are too old."""
        async with self._reading:
            is_old = time.monotonic() - self._read_at >= CACHE_SECONDS
            changes = self._changes
            if self._figures is None or is_old or changes != self._seen_changes:
                self._figures = await read_figures(self._redis)
                self._read_at = time.monotonic()
                self._seen_changes = changes
            return self._figures

    def forget(self) -> None:
        """Invalidates the cache, after this process has changed a figure."""
        self._changes += 1
