"""Deletes a cron: see delete_cron.lua."""

from typing import Literal

from millstream.shared import keys
from millstream.shared.errors import RightsChangedError
from millstream.shared.redis import Client
from millstream.shared.scripts.crons.create_cron import NO_THREAD
from millstream.shared.scripts.script import Script

SCRIPT = Script("crons/delete_cron")


async def delete_cron(
    redis: Client,
    cron_id: str,
    thread_id: str | None,
    when: Literal["now", "orphaned"] = "now",
    version: int | None = None,
) -> bool:
    """Deletes the cron; returns False if it does not exist, or (`orphaned`) its thread exists.

    Raises RightsChangedError, without a change, if it has another version than the caller has read.
    """
    thread = thread_id or NO_THREAD
    reply = await SCRIPT(
        redis,
        cron=keys.cron(cron_id),
        crons=keys.crons(),
        crons_of_thread=keys.crons_of(thread),
        thread=keys.thread(thread),
        cron_id=cron_id,
        when=when,
        version="" if version is None else version,
    )
    if reply == -1:
        raise RightsChangedError
    return bool(reply)
