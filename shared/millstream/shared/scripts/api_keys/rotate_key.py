"""Creates the successor of an API key: see rotate_key.lua."""

from dataclasses import dataclass
from typing import Literal, cast

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.api_keys.create_key import MAX_KEYS, KeyTimes, optional_time
from millstream.shared.scripts.script import Script

SCRIPT = Script("api_keys/rotate_key")
NotRotated = Literal["unknown", "ended", "full"]


@dataclass(frozen=True, slots=True)
class Rotation:
    """The times of the new key, and when the older one ends (µs)."""

    successor: KeyTimes
    older_ends_at: int


async def rotate_key(
    redis: Client,
    key_id: str,
    successor_id: str,
    digest: bytes,
    *,
    grace_us: int,
    lifetime_us: int | None = None,
    max_keys: int = MAX_KEYS,
) -> Rotation | NotRotated:
    """Creates the successor of a key; returns the times of both, or why nothing changed.

    Args:
        digest: of the new key.
        grace_us: µs for which the older key stays valid.
        lifetime_us: µs until the new key expires; None: as long as the older one was made for.
    """
    reply = await SCRIPT(
        redis,
        record=keys.api_key(key_id),
        successor=keys.api_key(successor_id),
        index=keys.api_keys(),
        version=keys.api_keys_version(),
        successor_id=successor_id,
        digest=digest,
        grace=grace_us,
        lifetime="" if lifetime_us is None else lifetime_us,
        max_keys=max_keys,
    )
    if isinstance(reply, bytes):
        return cast("NotRotated", reply.decode())
    created_at, expires_at, older_ends_at = reply
    return Rotation(KeyTimes(int(created_at), optional_time(expires_at)), int(older_ends_at))
