"""Change a thread's metadata and `ttl`: see patch_thread.lua."""

import uuid
from typing import Any, Literal, cast

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.scripts.threads.thread_index import thread_index_keys

SCRIPT = Script("threads/patch_thread")
Reply = Literal["patched", "missing", "changed"]


def arguments(
    thread_id: str, token: str, read: bytes, *, had_run: bool, fields: dict[str, Any]
) -> dict[str, Any]:
    """Returns what one call of the script takes."""
    return {
        "thread": keys.thread(thread_id),
        "expiring": keys.expiring(),
        "token": token,
        "thread_id": thread_id,
        "metadata": read,
        "run_terms": "" if had_run else "1",
        "fields": pairs(fields),
        **thread_index_keys(),
    }


async def patch_thread(
    redis: Client, thread_id: str, read: bytes, *, had_run: bool, fields: dict[str, Any]
) -> Reply:
    """Sets the fields; returns the script's word for what happened.

    Args:
        read: the metadata (JSON) on the record when it was read.
        had_run: the record run_terms the graph of a run then.
        fields: of the thread's record.
    """
    token = uuid.uuid4().hex
    words = arguments(thread_id, token, read, had_run=had_run, fields=fields)
    reply = await SCRIPT(redis, **words)
    return cast("Reply", reply.decode())
