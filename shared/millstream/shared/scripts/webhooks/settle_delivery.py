"""Settles a webhook call: see settle_delivery.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("webhooks/settle_delivery")


async def settle_delivery(redis: Client, job: str, lease_end: int, *, after_ms: int | None) -> bool:
    """Makes the call due again after `after_ms`, or removes it (None).

    `lease_end` is what `take_deliveries` returned. Returns False, without a change, if another worker has
    taken the call since.
    """
    thread_id, run_id = keys.parse_job_id(job)
    return bool(
        await SCRIPT(
            redis,
            deliveries=keys.deliveries(),
            delivery=keys.delivery(thread_id, run_id),
            job=job,
            lease_end=lease_end,
            after="" if after_ms is None else after_ms,
        )
    )
