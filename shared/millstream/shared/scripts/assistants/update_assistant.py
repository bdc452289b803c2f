"""Gives an assistant a new version: see update_assistant.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.structs import pack_assistant
from millstream.shared.wire import Assistant

SCRIPT = Script("assistants/update_assistant")


async def update_assistant(
    redis: Client,
    assistant: Assistant,
    *,
    revision: int | None,
    first: Assistant,
    announced_at: int,
    max_versions: int,
) -> int:
    """Writes a new version and makes it the current one; returns its number.

    Args:
        revision: of the record that the caller read; None for a default assistant without a record.
        first: the first version of a default assistant without a record.
        announced_at: µs, when a worker announced the graph of that default assistant.
        max_versions: number of versions to keep; older ones are deleted.

    Returns 0, without a change, if the record has changed: read it again.
    """
    name = assistant.assistant_id
    version = await SCRIPT(
        redis,
        assistant=keys.assistant(name),
        assistants=keys.assistants(),
        assistant_id=name,
        revision="" if revision is None else revision,
        packed=pack_assistant(key_ring_of(redis), assistant),
        first=pack_assistant(key_ring_of(redis), first),
        announced_at=announced_at,
        max_versions=max_versions,
    )
    return int(version)
