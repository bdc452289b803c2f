"""Take calls of webhooks that are due: see take_deliveries.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("webhooks/take_deliveries")


async def take_deliveries(redis: Client, *, limit: int, lease_ms: int) -> list[tuple[bytes, int]]:
    """Returns the job ids of the runs whose webhooks are due, each with the number of this taking.

    They are the caller's for `lease_ms`; then somebody else may take them.
    """
    reply = await SCRIPT(
        redis,
        deliveries=keys.deliveries(),
        limit=limit,
        lease=lease_ms,
    )
    return [(job, int(score)) for job, score in zip(reply[::2], reply[1::2], strict=True)]
