"""Leases due webhook calls: see take_deliveries.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("webhooks/take_deliveries")


async def take_deliveries(redis: Client, *, limit: int, lease_ms: int) -> list[tuple[bytes, int]]:
    """Returns at most `limit` job ids of runs whose webhook calls are due, each with the end of the lease (ms).

    After `lease_ms` another worker may take them.
    """
    reply = await SCRIPT(
        redis,
        deliveries=keys.deliveries(),
        limit=limit,
        lease=lease_ms,
    )
    return [(job, int(lease_end)) for job, lease_end in zip(reply[::2], reply[1::2], strict=True)]
