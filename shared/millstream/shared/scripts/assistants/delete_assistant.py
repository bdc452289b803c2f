"""Deletes an assistant: see delete_assistant.lua."""

from millstream.shared import keys
from millstream.shared.errors import RightsChangedError
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("assistants/delete_assistant")


async def delete_assistant(redis: Client, assistant_id: str, revision: int | None = None) -> bool:
    """Deletes the assistant's record with all versions; returns False if it has none.

    Raises RightsChangedError, without a change, if the record has another revision than the caller has read.
    """
    reply = await SCRIPT(
        redis,
        assistant=keys.assistant(assistant_id),
        assistants=keys.assistants(),
        assistant_id=assistant_id,
        revision="" if revision is None else revision,
    )
    if reply == -1:
        raise RightsChangedError
    return bool(reply)
