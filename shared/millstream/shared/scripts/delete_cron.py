"""Delete a cron: see delete_cron.lua."""

from typing import Literal

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("delete_cron")


async def delete_cron(
    redis: Client, cron_id: str, thread_id: str | None, when: Literal["now", "stray"] = "now"
) -> bool:
    """Deletes the cron; False if it was not there. `when` says under which condition."""
    thread = thread_id or "none"  # of no thread: the keys of one that is never there
    reply = await SCRIPT(
        redis,
        [keys.cron(cron_id), keys.crons(), keys.crons_of(thread), keys.thread(thread)],
        [cron_id, when],
    )
    return bool(reply)
