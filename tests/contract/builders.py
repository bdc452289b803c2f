"""Runs in every situation, built with the real scripts, and reads of all keys in Redis."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.rules.fair_shares import NO_LIMITS, AdmissionLimits
from millstream.shared.rules.lifecycle import Cause, RunStatus
from millstream.shared.runs import Submission
from millstream.shared.scripts import Batch, Claim
from millstream.shared.scripts.runs.renew import SCRIPT as RENEW
from millstream.shared.scripts.runs.renew import arguments
from millstream.shared.threads import new_thread_fields
from millstream.shared.wire import PROTOCOL, RunSpec

QUEUE = "default"
LEASE_MS = 60_000
ATTEMPTS = 3
STREAM_TTL = 300
EVENTS_TTL = 900
LONG_AGO = 1.0


def new_id() -> str:
    return str(uuid.uuid4())


def a_spec(thread_id: str = "", **changes: Any) -> RunSpec:
    """Returns the spec of a new run."""
    fields: dict[str, Any] = {
        "protocol": PROTOCOL,
        "run_id": new_id(),
        "thread_id": thread_id or new_id(),
        "assistant_id": "a1",
        "graph_id": "echo",
        "queue": QUEUE,
        "strategy": "enqueue",
        "temporary": False,
        "metadata": b"{}",
        "kwargs": b"{}",
    }
    return RunSpec(**(fields | changes))


def a_submission(thread_id: str = "", **changes: Any) -> Submission:
    """Returns a request for a new run, which may create its thread."""
    return Submission(spec=a_spec(thread_id, **changes), new_thread=new_thread_fields({}))


def job(spec: RunSpec) -> str:
    return keys.job_id(spec.thread_id, spec.run_id)


async def admit(
    redis: Client,
    spec: RunSpec | None = None,
    *,
    delay_ms: int = 0,
    limits: AdmissionLimits = NO_LIMITS,
) -> RunSpec:
    """Admits a run; creates its thread if it is missing."""
    spec = spec or a_spec()
    await scripts.admit(
        redis,
        spec,
        delay_ms=delay_ms,
        new_thread=new_thread_fields({}),
        stream_ttl=STREAM_TTL,
        limits=limits,
    )
    return spec


async def try_claim(
    redis: Client,
    spec: RunSpec,
    worker: str = "w1",
    *,
    token: str | None = None,
    graphs: Sequence[str] | None = None,
    lease_grace_ms: int = 0,
    slots: int = 0,
) -> Claim | None:
    return await scripts.claim(
        redis,
        job(spec),
        spec.queue,
        worker=worker,
        token=token or uuid.uuid4().hex,
        graphs=[spec.graph_id] if graphs is None else graphs,
        lease_ms=LEASE_MS,
        max_attempts=ATTEMPTS,
        events_ttl=EVENTS_TTL,
        lease_grace_ms=lease_grace_ms,
        slots=slots,
    )


async def take(redis: Client, spec: RunSpec, worker: str = "w1") -> Claim:
    """Claims a claimable run."""
    claim = await try_claim(redis, spec, worker)
    assert claim is not None
    return claim


async def make_due(redis: Client, spec: RunSpec) -> None:
    """Makes the lease lapse, or the deferral end."""
    await redis.zadd(keys.queue(spec.queue), {job(spec): LONG_AGO})


async def running(redis: Client, spec: RunSpec | None = None) -> Claim:
    """Admits a run and claims it."""
    return await take(redis, await admit(redis, spec))


async def overtaken(redis: Client, spec: RunSpec | None = None) -> tuple[Claim, Claim]:
    """Returns the claim of a worker whose lease lapsed, and the claim of the next worker."""
    old = await running(redis, spec)
    await make_due(redis, old.spec)
    return old, await take(redis, old.spec, "w2")


async def write(redis: Client, claim: Claim, number: int, *event_parts: str | bytes) -> bool:
    """Appends one batch of events."""
    [written] = await scripts.append(redis, [Batch(claim, number, event_parts)], max_events=50_000)
    return written is not None


async def renew(redis: Client, claim: Claim, lease_ms: int = LEASE_MS) -> str:
    reply = await RENEW(redis, **arguments(claim, lease_ms))
    return str(reply.decode())


async def end(
    redis: Client,
    claim: Claim,
    cause: Cause = Cause.SUCCEEDED,
    *,
    idle_status: str = "idle",
    interrupts: bytes | None = None,
    events: Sequence[str | bytes] = (),
    after: int = 0,
    output: bytes = b"",
    error: bytes = b"",
) -> RunStatus | None:
    """Ends a run as its worker."""
    thread: dict[str, str | bytes] = {"idle_status": idle_status}
    if interrupts is not None:
        thread["interrupts"] = interrupts
    return await scripts.finish(
        redis,
        claim.spec,
        cause,
        fence=claim.fence,
        stream_ttl=STREAM_TTL,
        thread=thread,
        events=events,
        after=after,
        output=output,
        error=error,
    )


async def end_pending(
    redis: Client, spec: RunSpec, cause: Cause = Cause.CANCELLED
) -> RunStatus | None:
    """Ends a pending run."""
    return await scripts.finish(redis, spec, cause, fence=None, stream_ttl=STREAM_TTL)


async def events_of(redis: Client, spec: RunSpec) -> list[tuple[str, Any]]:
    """Returns the run's events as pairs of name and decoded data."""
    entries = await redis.xrange(keys.events(spec.thread_id, spec.run_id))
    events = []
    for _, fields in entries:
        name, data = next(iter(fields.items()))
        events.append((name.decode(), msgspec.json.decode(data)))
    return events


async def record(redis: Client, spec: RunSpec) -> dict[str, str]:
    """Returns the record of a run without its spec."""
    fields = await redis.hgetall(keys.run(spec.thread_id, spec.run_id))  # type: ignore[misc]
    return {k.decode(): v.decode() for k, v in fields.items() if k != b"spec"}


async def thread_of(redis: Client, spec: RunSpec) -> dict[str, str]:
    """Returns the thread's record, with the id of its active run instead of the run reference."""
    fields = await redis.hgetall(keys.thread(spec.thread_id))  # type: ignore[misc]
    thread = {k.decode(): v.decode() for k, v in fields.items()}
    if "active" in thread:
        _, thread["active"] = keys.parse_job_id(thread["active"].partition(" ")[0])
    return thread


async def queued(redis: Client, queue: str = QUEUE) -> dict[str, float]:
    """Returns the queue: job id → tag (below 0), or time at which it is due (ms)."""
    pairs = await redis.zrange(keys.queue(queue), 0, -1, withscores=True)
    return {member.decode(): score for member, score in pairs}


async def woken(redis: Client, queue: str = QUEUE) -> list[str]:
    """Returns the pending wake-ups."""
    return [w.decode() for w in await redis.lrange(keys.wake(queue), 0, -1)]  # type: ignore[misc]


async def waiting(redis: Client, thread_id: str) -> list[str]:
    """Returns the job ids in the thread's FIFO."""
    run_refs = await redis.lrange(keys.waiting(thread_id), 0, -1)  # type: ignore[misc]
    return [run_ref.decode().partition(" ")[0] for run_ref in run_refs]


async def dump(redis: Client) -> dict[str, Any]:
    """Returns all keys with their values, and whether each has a TTL."""
    held: dict[str, Any] = {}
    client: Any = redis
    async for key in client.scan_iter(count=1000):
        match (await client.type(key)).decode():
            case "string":
                continue  # which service holds a leader lock
            case "hash":
                value = await client.hgetall(key)
            case "zset":
                value = await client.zrange(key, 0, -1, withscores=True)
            case "list":
                value = await client.lrange(key, 0, -1)
            case "set":
                value = sorted(await client.smembers(key))
            case "stream":
                value = await client.xrange(key)
            case kind:
                raise AssertionError(f"{key} is a {kind}")
        held[key.decode()] = (await client.ttl(key) >= 0, value)
    return held
