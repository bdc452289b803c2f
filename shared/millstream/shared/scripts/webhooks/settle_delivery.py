"""Settle a call of a webhook: see settle_delivery.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("webhooks/settle_delivery")


async def settle_delivery(redis: Client, job: str, taking: int, *, after_ms: int | None) -> bool:
    """Has the call due again after so many ms, or done with (None).

    `taking` is what `take_deliveries` returned. Returns False, with nothing changed, if somebody
    else has taken it since.
    """
    thread_id, run_id = keys.parse_job_id(job)
    return bool(
        await SCRIPT(
            redis,
            deliveries=keys.deliveries(),
            delivery=keys.delivery(thread_id, run_id),
            job=job,
            score=taking,
            after="" if after_ms is None else after_ms,
        )
    )
