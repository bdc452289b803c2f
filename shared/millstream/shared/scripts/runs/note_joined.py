"""Count a client that has come to follow a run: see note_joined.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/note_joined")


async def note_joined(redis: Client, thread_id: str, run_id: str) -> int:
    """Returns how many have come by now, its creator not counted; 0 if there is no such run."""
    return int(
        await SCRIPT(
            redis,
            run=keys.run(thread_id, run_id),
        )
    )
