"""The saver of langgraph-checkpoint-redis, with what it lacks for a fleet of workers.

It needs the RedisJSON and RediSearch modules (Redis 8, Redis Stack, the embedded Redis).
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from redis.exceptions import ResponseError

from millstream.shared.errors import SettingError
from millstream.shared.redis import Client

SETUP_LOCK: Final = "ms:checkpoints:setup"  # string, TTL
NEEDED: Final = {"search": "RediSearch", "rejson": "RedisJSON"}


class ShieldedRedisSaver(AsyncRedisSaver):
    """A put that was begun is completed: a cancel in its middle would leave a checkpoint without
    the pointer that makes it the newest."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        stream_mode: str = "values",
    ) -> RunnableConfig:
        """Stores a checkpoint; source: BaseCheckpointSaver.aput."""
        put = super().aput(config, checkpoint, metadata, new_versions, stream_mode)
        return await asyncio.shield(asyncio.ensure_future(put))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Stores pending writes; source: BaseCheckpointSaver.aput_writes."""
        put = super().aput_writes(config, writes, task_id, task_path)
        await asyncio.shield(asyncio.ensure_future(put))


async def open_saver(redis: Client) -> ShieldedRedisSaver:
    """Returns the saver, its indexes in place.

    Raises SettingError if Redis lacks the modules.
    """
    try:
        modules = {_name(module).lower() for module in await redis.module_list()}
    except ResponseError:  # a server that forbids or lacks MODULE
        modules = set()
    missing = [title for name, title in NEEDED.items() if name not in modules]
    if missing:
        raise SettingError(
            f"This Redis lacks {' and '.join(missing)}, which the checkpointer of "
            "langgraph-checkpoint-redis needs. Use Redis 8 or Redis Stack, or run "
            "`millstream dev` with the embedded Redis."
        )
    saver = ShieldedRedisSaver(redis_client=redis)
    # Workers that create the same index at once make all but one of them fail.
    async with redis.lock(SETUP_LOCK, timeout=30, blocking_timeout=60):
        await saver.asetup()
    return saver


def _name(module: Any) -> str:
    name = module.get("name", module.get(b"name", b""))
    return name.decode() if isinstance(name, bytes) else str(name)
