"""Makes a version of an assistant the current one: see choose_version.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("assistants/choose_version")


async def choose_version(redis: Client, assistant_id: str, version: int) -> bool:
    """Makes the version the current one; returns False, without a change, if it does not exist."""
    return bool(
        await SCRIPT(
            redis,
            assistant=keys.assistant(assistant_id),
            version=version,
        )
    )
