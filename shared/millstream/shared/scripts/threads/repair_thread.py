"""Repairs a stuck thread: see repair_thread.lua."""

from typing import Literal, cast

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL, ThreadStatus
from millstream.shared.scripts.script import Script
from millstream.shared.scripts.threads.thread_index import thread_index_keys

SCRIPT = Script("threads/repair_thread")
Reply = Literal["fine", "released", "counted"]


async def repair_thread(redis: Client, thread_id: str) -> Reply:
    """Repairs the thread if it is stuck; returns what the script did (see repair_thread.lua)."""
    reply = await SCRIPT(
        redis,
        thread=keys.thread(thread_id),
        waiting=keys.waiting(thread_id),
        live=keys.live(),
        busy=ThreadStatus.BUSY,
        thread_id=thread_id,
        ended_statuses=sorted(TERMINAL),
        **thread_index_keys(),
    )
    return cast("Reply", reply.decode())
