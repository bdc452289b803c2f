"""The config with which a thread's graph is made again, to read the thread."""

from typing import Any

import msgspec

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.fields import open_thread_field


async def get_config(redis: Client, thread_id: str) -> dict[str, Any] | None:
    """Returns the config of the newest run whose graph a factory made (scripts.note_config).

    None before the first of these runs.
    """
    stored = await redis.hget(keys.thread(thread_id), "config")  # type: ignore[misc]
    if stored is None:
        return None
    opened = open_thread_field(key_ring_of(redis), thread_id, "config", stored)
    config: dict[str, Any] = msgspec.json.decode(opened)
    return config
