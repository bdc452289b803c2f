"""Give an assistant a new version: see update_assistant.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script
from millstream.shared.wire import Assistant, pack

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
        revision: what the record said when it was read; None for a default assistant without one.
        first: the first version of one that has no record yet, announced at `announced_at` (µs).
        max_versions: versions that are kept; older ones go.

    Returns 0, with nothing changed, if the record is another by now.
    """
    name = assistant.assistant_id
    version = await SCRIPT(
        redis,
        assistant=keys.assistant(name),
        assistants=keys.assistants(),
        assistant_id=name,
        revision="" if revision is None else revision,
        packed=pack(assistant),
        first=pack(first),
        announced_at=announced_at,
        max_versions=max_versions,
    )
    return int(version)
