"""Deletes an assistant: see delete_assistant.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("assistants/delete_assistant")


async def delete_assistant(redis: Client, assistant_id: str) -> bool:
    """Deletes the assistant's record with all versions; returns False if it has none."""
    return bool(
        await SCRIPT(
            redis,
            assistant=keys.assistant(assistant_id),
            assistants=keys.assistants(),
            assistant_id=assistant_id,
        )
    )
