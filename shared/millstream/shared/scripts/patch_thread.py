"""Change a thread's metadata and `ttl`: see patch_thread.lua."""

import uuid
from typing import Any

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script, pairs

SCRIPT = Script("patch_thread")


def arguments(
    thread_id: str, token: str, read: bytes, *, had_run: bool, fields: dict[str, Any]
) -> tuple[list[str], list[Any]]:
    """Returns the keys and words of one call of the script."""
    where = [keys.thread(thread_id), keys.expiring(), *keys.threads_index()]
    return where, [token, thread_id, read, "" if had_run else "1", *pairs(fields)]


async def patch_thread(
    redis: Client, thread_id: str, read: bytes, *, had_run: bool, fields: dict[str, Any]
) -> str:
    """Sets the fields; returns the script's word for what happened.

    Args:
        read: the metadata (JSON) on the record when it was read.
        had_run: the record named the graph of a run then.
        fields: of the thread's record.
    """
    token = uuid.uuid4().hex
    words = arguments(thread_id, token, read, had_run=had_run, fields=fields)
    return str((await SCRIPT(redis, *words)).decode())
