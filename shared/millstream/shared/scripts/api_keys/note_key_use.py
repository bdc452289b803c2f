"""Notes that API keys were used: see note_key_use.lua."""

from collections.abc import Iterable

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("api_keys/note_key_use")


async def note_key_use(redis: Client, key_ids: Iterable[str], *, interval_us: int) -> int:
    """Notes a use of each key, in one round trip; returns the number of changed records.

    Args:
        interval_us: µs; a key whose noted use is younger is left alone.
    """
    calls = [{"record": keys.api_key(key_id), "interval": interval_us} for key_id in key_ids]
    return sum(await SCRIPT.many(redis, calls)) if calls else 0
