"""Revokes an API key: see revoke_key.lua."""

from typing import Literal, cast

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("api_keys/revoke_key")
Reply = Literal["revoked", "was_revoked", "unknown"]


async def revoke_key(redis: Client, key_id: str) -> Reply:
    """Revokes the key; returns the script's status."""
    reply = await SCRIPT(
        redis,
        record=keys.api_key(key_id),
        index=keys.api_keys(),
        version=keys.api_keys_version(),
    )
    return cast("Reply", reply.decode())
