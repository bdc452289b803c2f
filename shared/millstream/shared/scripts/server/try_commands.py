"""Tries commands: see try_commands.lua."""

from collections.abc import Sequence

import msgspec

from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("server/try_commands")


async def try_commands(
    redis: Client, trial: str, commands: Sequence[Sequence[str]], *, ttl_ms: int
) -> list[tuple[str, str]]:
    """Returns the commands that failed, each with Redis' error message. It leaves nothing behind.

    Args:
        trial: a key that only the caller uses (keys.trial).
        commands: each a name with its arguments. SET, PEXPIRE, UNLINK and DEL of the trial are always tried.
        ttl_ms: after which the trial expires if neither UNLINK nor DEL is allowed.
    """
    reply = await SCRIPT(redis, trial=trial, ttl=ttl_ms, commands=msgspec.json.encode(commands))
    texts = [text.decode() for text in reply]
    return list(zip(texts[::2], texts[1::2], strict=True))
