"""Creates a thread: see create_thread.lua."""

import uuid
from typing import Any

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.scripts.threads.thread_index import thread_index_keys

SCRIPT = Script("threads/create_thread")


def arguments(thread_id: str, token: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of one call of the script."""
    return {
        "thread": keys.thread(thread_id),
        "expiring": keys.expiring(),
        "token": token,
        "thread_id": thread_id,
        "fields": pairs(fields),
        **thread_index_keys(),
    }


async def create_thread(redis: Client, thread_id: str, fields: dict[str, Any]) -> bool:
    """Writes the thread; returns False, without a change, if it exists."""
    token = uuid.uuid4().hex
    return bool(await SCRIPT(redis, **arguments(thread_id, token, fields)))
