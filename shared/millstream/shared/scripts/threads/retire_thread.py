"""Closes a thread to new runs: see retire_thread.lua."""

from typing import Literal, cast

from millstream.shared import keys
from millstream.shared.errors import RightsChangedError
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script
from millstream.shared.scripts.threads.thread_index import thread_index_keys

SCRIPT = Script("threads/retire_thread")
Reply = Literal["retired", "missing", "busy", "early"]


async def retire_thread(
    redis: Client, thread_id: str, when: Literal["now", "idle", "due"] = "now", guard: str = ""
) -> Reply:
    """Closes the thread to new runs; returns the script's status.

    Args:
        when: "now"; "idle": only if all its runs have ended; "due": only if that is so and it has expired.
        guard: of the metadata by which the caller's rights were judged (parts/guard.lua).

    Raises RightsChangedError, without a change, if the thread's metadata is not the judged one any more.
    """
    reply = await SCRIPT(
        redis,
        thread=keys.thread(thread_id),
        retired=keys.retired(),
        runs=keys.runs(thread_id),
        live=keys.live(),
        expiring=keys.expiring(),
        thread_id=thread_id,
        when=when,
        guard=guard,
        **thread_index_keys(),
    )
    if reply == b"rejudge":
        raise RightsChangedError
    return cast("Reply", reply.decode())
