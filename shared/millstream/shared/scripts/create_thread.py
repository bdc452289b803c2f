"""Create a thread: see create_thread.lua."""

import uuid
from typing import Any

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script, pairs

SCRIPT = Script("create_thread")


def arguments(thread_id: str, token: str, fields: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """Returns the keys and words of one call of the script."""
    where = [keys.thread(thread_id), keys.expiring(), *keys.threads_index()]
    return where, [token, thread_id, *pairs(fields)]


async def create_thread(redis: Client, thread_id: str, fields: dict[str, Any]) -> bool:
    """Writes the thread; returns False, with nothing changed, if it was there."""
    token = uuid.uuid4().hex
    return bool(await SCRIPT(redis, *arguments(thread_id, token, fields)))
