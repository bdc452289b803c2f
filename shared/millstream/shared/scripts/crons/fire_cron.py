"""Fires a cron: see fire_cron.lua."""

from typing import Any, Literal, cast

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.fair_shares import AdmissionLimits
from millstream.shared.scripts.crons.create_cron import due_score
from millstream.shared.scripts.runs.admit import Reply as AdmitReply
from millstream.shared.scripts.runs.admit import arguments
from millstream.shared.scripts.script import Script
from millstream.shared.sealing import key_ring_of
from millstream.shared.wire import Cron, RunSpec

SCRIPT = Script("crons/fire_cron")
Reply = Literal["stale"] | AdmitReply


async def fire_cron(
    redis: Client,
    cron: Cron,
    version: int,
    *,
    due_ms: float,
    next_ms: int | None,
    spec: RunSpec,
    new_thread: dict[str, Any] | None,
    limits: AdmissionLimits,
    stream_ttl: int,
    guard: str = "",
) -> tuple[Reply, list[bytes]]:
    """Admits the run of one due time, once however many workers try, and sets the next due time.

    Args:
        version: of the record from which `cron` and `spec` were built.
        due_ms: the due time, as the caller read it.
        next_ms: the next due time; None for never.
        new_thread: fields of the thread to create; None for a cron that has a thread.
        limits: maximum numbers of runs that have not ended, and the weights of identities.
        stream_ttl: seconds for which the events of displaced runs stay readable.
        guard: of the metadata by which the rights of the cron's creator were judged (parts/guard.lua).

    Returns the script's status, and references to the displaced runs that the caller must end (see `admit`).
    """
    status, *details = await SCRIPT(
        redis,
        cron=keys.cron(cron.cron_id),
        crons=keys.crons(),
        crons_of_thread=keys.crons_of(spec.thread_id),
        cron_id=cron.cron_id,
        due=due_ms,
        version=version,
        next_due=due_score(next_ms),
        **arguments(key_ring_of(redis), spec, 0, new_thread, limits, stream_ttl, guard=guard),
    )
    return cast("Reply", status.decode()), details[1] if details else []
