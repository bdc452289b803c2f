"""Changes a thread's metadata and `ttl`: see patch_thread.lua."""

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
    """Returns the arguments of one call of the script; see `patch_thread` for the parameters."""
    return {
        "thread": keys.thread(thread_id),
        "expiring": keys.expiring(),
        "token": token,
        "thread_id": thread_id,
        "metadata": read,
        "no_run": "" if had_run else "1",
        "fields": pairs(fields),
        **thread_index_keys(),
    }


async def patch_thread(
    redis: Client, thread_id: str, read: bytes, *, had_run: bool, fields: dict[str, Any]
) -> Reply:
    """Sets fields of the thread's record; returns the script's status.

    Args:
        read: metadata (JSON) that the caller read from the record.
        had_run: whether the thread had a run when the caller read the record.
        fields: of the thread's record.
    """
    token = uuid.uuid4().hex
    reply = await SCRIPT(redis, **arguments(thread_id, token, read, had_run=had_run, fields=fields))
    return cast("Reply", reply.decode())
