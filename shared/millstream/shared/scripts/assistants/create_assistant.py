"""Creates an assistant: see create_assistant.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.structs import pack_assistant
from millstream.shared.wire import Assistant

SCRIPT = Script("assistants/create_assistant")


async def create_assistant(redis: Client, assistant: Assistant) -> bool:
    """Writes the first version; returns False, without a change, if the id is taken."""
    name = assistant.assistant_id
    return bool(
        await SCRIPT(
            redis,
            assistant=keys.assistant(name),
            assistants=keys.assistants(),
            assistant_id=name,
            packed=pack_assistant(key_ring_of(redis), assistant),
        )
    )
