"""Make a version of an assistant the current one: see choose_version.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("assistants/choose_version")


async def choose_version(redis: Client, assistant_id: str, version: int) -> bool:
    """Makes it the current one; returns False, with nothing changed, if it is not there."""
    return bool(
        await SCRIPT(
            redis,
            assistant=keys.assistant(assistant_id),
            version=version,
        )
    )
