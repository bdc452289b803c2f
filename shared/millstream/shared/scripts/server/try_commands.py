"""Try commands: see try_commands.lua."""

from collections.abc import Sequence

import msgspec

from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("server/try_commands")


async def try_commands(
    redis: Client, trial: str, commands: Sequence[Sequence[str]], *, ttl_ms: int
) -> list[tuple[str, str]]:
    """Returns the commands that gave an error, each with what Redis said; nothing stays of them.

    Args:
        trial: a key of the caller's alone (keys.trial).
        commands: the words of each; SET, PEXPIRE, UNLINK and DEL of the trial are tried in any case.
        ttl_ms: how long the trial lives if neither UNLINK nor DEL is allowed.
    """
    words = msgspec.json.encode(commands)
    reply = [
        word.decode()
        for word in await SCRIPT(
            redis,
            trial=trial,
            ttl=ttl_ms,
            commands=words,
        )
    ]
    return list(zip(reply[::2], reply[1::2], strict=True))
