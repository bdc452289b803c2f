"""Removes runs that have ended from the live runs of their identities: see forget_ended.lua."""

from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/forget_ended")


async def forget_ended(redis: Client, members: Sequence[bytes]) -> int:
    """Removes those of the members of `keys.identities()` whose run has ended; returns their number."""
    return int(await SCRIPT(redis, live=keys.live(), identities=keys.identities(), members=members))
