"""Makes a version of an assistant the current one: see choose_version.lua."""

from millstream.shared import keys
from millstream.shared.errors import RightsChangedError
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("assistants/choose_version")


async def choose_version(
    redis: Client, assistant_id: str, version: int, revision: int | None = None
) -> bool:
    """Makes the version the current one; returns False, without a change, if it does not exist.

    Raises RightsChangedError, without a change, if the record has another revision than the caller has read.
    """
    reply = await SCRIPT(
        redis,
        assistant=keys.assistant(assistant_id),
        version=version,
        revision="" if revision is None else revision,
    )
    if reply == -1:
        raise RightsChangedError
    return bool(reply)
