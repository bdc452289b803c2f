"""The sizes of a thread's checkpoints, in bytes as they are stored.

Source of the shape: `GET /threads/{thread_id}/storage` of the LangGraph Platform API.
"""

from dataclasses import dataclass, field
from typing import Final

from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.threads import checkpoints

AT_ONCE: Final = 500  # checkpoints or values that one command measures


@dataclass(slots=True)
class Sizes:
    """Sums over all namespaces of a thread; `channels` is name → (number of versions, bytes)."""

    checkpoints: int = 0
    checkpoint_bytes: int = 0
    writes: int = 0
    write_bytes: int = 0
    channels: dict[str, tuple[int, int]] = field(default_factory=dict)


async def measure(redis: Client, thread_id: str) -> Sizes:
    """Returns the sizes; a change meanwhile may or may not be included.

    The values themselves stay in Redis, and no command takes longer for a longer thread.
    """
    sizes = Sizes()
    for namespace in await checkpoints.list_namespaces(redis, thread_id):
        await _add_checkpoints(redis, CheckpointNamespace(thread_id, namespace), sizes)
        await _add_values(redis, keys.checkpoint_values(thread_id, namespace), sizes)
    return sizes


async def _add_checkpoints(redis: Client, namespace: CheckpointNamespace, sizes: Sizes) -> None:
    index = keys.checkpoint_index(namespace.thread_id, namespace.name)
    start = 0
    while ids := await redis.zrange(index, start, start + AT_ONCE - 1):
        measured = await scripts.measure_checkpoints(redis, namespace, ids)
        sizes.checkpoints += measured.checkpoints
        sizes.checkpoint_bytes += measured.checkpoint_bytes
        sizes.writes += measured.writes
        sizes.write_bytes += measured.write_bytes
        start += len(ids)


async def _add_values(redis: Client, values: str, sizes: Sizes) -> None:
    fields = await redis.hkeys(values)  # type: ignore[misc]
    for start in range(0, len(fields), AT_ONCE):
        batch = fields[start : start + AT_ONCE]
        pipe = redis.pipeline(transaction=False)
        for name in batch:
            pipe.hstrlen(values, name)
        for name, size in zip(batch, await pipe.execute(), strict=True):
            channel = name.rpartition(b"\0")[0].decode()
            versions, total = sizes.channels.get(channel, (0, 0))
            sizes.channels[channel] = versions + 1, total + size
