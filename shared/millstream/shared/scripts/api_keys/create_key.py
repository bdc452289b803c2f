"""Creates an API key: see create_key.lua."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Scalar, Script, pairs

SCRIPT = Script("api_keys/create_key")
MAX_KEYS: Final = 10_000


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """When a key was created and when it expires (µs; None: never)."""

    created_at: int
    expires_at: int | None


async def create_key(
    redis: Client,
    key_id: str,
    fields: Mapping[str, Scalar],
    *,
    lifetime_us: int | None = None,
    max_keys: int = MAX_KEYS,
) -> KeyTimes | None:
    """Creates a key with the fields of its record; returns its times. Returns None if there are too many keys.

    Args:
        lifetime_us: µs until it expires; None: never.
    """
    reply = await SCRIPT(
        redis,
        record=keys.api_key(key_id),
        index=keys.api_keys(),
        version=keys.api_keys_version(),
        key_id=key_id,
        lifetime="" if lifetime_us is None else lifetime_us,
        max_keys=max_keys,
        fields=pairs(fields),
    )
    return KeyTimes(int(reply[0]), optional_time(reply[1])) if reply else None


def optional_time(text: bytes | None) -> int | None:
    """Returns a time in µs; None if there is none."""
    return int(text) if text else None
