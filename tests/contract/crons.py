"""Crons for contract tests: creating, firing, and reading what was fired."""

from collections import Counter
from typing import Any

from contract.builders import (
    LONG_AGO,
    STREAM_TTL,
    a_spec,
    new_id,
)
from millstream.shared import assistants, crons, keys, runs, scripts
from millstream.shared.access import Authorizer
from millstream.shared.assistants import GraphDirectory, default_assistant_id
from millstream.shared.crons import CronContext, CronRecord
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.redis import Client
from millstream.shared.rules.fair_shares import NO_LIMITS, AdmissionLimits
from millstream.shared.runs import RunRecord
from millstream.shared.threads import new_thread_fields
from millstream.shared.wire import Cron, GraphInfo, RunRequest

CONTENDERS = 50


async def a_cron(redis: Client, thread_id: str | None = None, **changes: Any) -> CronRecord:
    """Creates a cron that is due once a year; `strategy` and `user` (JSON) are those of its runs."""
    strategy, user = changes.pop("strategy", "enqueue"), changes.pop("user", b"")
    fields: dict[str, Any] = {
        "cron_id": new_id(),
        "assistant_id": default_assistant_id("echo"),
        "thread_id": thread_id,
        "schedule": "0 0 1 1 *",
        "timezone": None,
        "end_time": None,
        "enabled": True,
        "on_run_completed": None if thread_id else "keep",
        "metadata": b"{}",
    }
    cron = Cron(**(fields | changes))
    request = RunRequest(
        assistant_id=cron.assistant_id,
        input={"of": cron.cron_id},
        multitask_strategy=strategy,
        creates_thread=thread_id is None,
        temporary=cron.on_run_completed == "delete",
        user=user,
    )
    return await crons.create(redis, cron, b'{"input":1}', request)


async def a_thread(redis: Client) -> str:
    thread_id = new_id()
    await scripts.create_thread(redis, thread_id, new_thread_fields({}))
    return thread_id


async def make_due(redis: Client, record: CronRecord, when: float = LONG_AGO) -> None:
    await redis.zadd(keys.crons(), {record.cron.cron_id: when}, xx=True)


async def score(redis: Client, record: CronRecord) -> float | None:
    due_ms = await redis.zscore(keys.crons(), record.cron.cron_id)
    return None if due_ms is None else float(due_ms)


async def directory(redis: Client) -> GraphDirectory:
    await assistants.announce(redis, [GraphInfo(graph_id="echo", queue="default")])
    return GraphDirectory(redis)


async def fire(
    redis: Client,
    *,
    limit: int = 100,
    limits: AdmissionLimits = NO_LIMITS,
    observer: RunObserver = UNOBSERVED,
    authorizer: Authorizer | None = None,
) -> Counter[str]:
    firing = CronContext(
        redis,
        await directory(redis),
        limits,
        STREAM_TTL,
        observer=observer,
        authorizer=authorizer,
    )
    return await crons.fire_due(firing, limit=limit, at_once=20)


async def fired(redis: Client) -> list[RunRecord]:
    """Returns the live runs."""
    due_ms = [await runs.find_run(redis, *ids[:2]) for ids in await runs.live_runs(redis)]
    return [record for record in due_ms if record is not None]


# ── Fire ────────────────────────────────────────────────────────────────────────────────────


async def fire_at(
    redis: Client, record: CronRecord, due_ms: float, next_ms: int | None, **changes: Any
) -> str:
    """Fires as a worker that has read that due time."""
    thread_id = record.cron.thread_id
    reply, _ = await scripts.fire_cron(
        redis,
        record.cron,
        changes.get("version", record.version),
        due_ms=due_ms,
        next_ms=next_ms,
        spec=a_spec(thread_id or ""),
        new_thread=None if thread_id else new_thread_fields({}),
        limits=NO_LIMITS,
        stream_ttl=60,
    )
    return reply
