"""Mark that a client has left: see note_left.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("note_left")


async def note_left(redis: Client, thread_id: str, run_id: str, mark: str) -> bool:
    """Writes the mark on the run's record; returns False if there is none."""
    return bool(await SCRIPT(redis, [keys.run(thread_id, run_id)], [mark]))
