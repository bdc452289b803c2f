"""Counts a client that joins a run: see note_joined.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/note_joined")


async def note_joined(redis: Client, thread_id: str, run_id: str) -> int:
    """Returns the number of clients that have joined, without the run's creator; 0 if the run does not exist."""
    return int(
        await SCRIPT(
            redis,
            run=keys.run(thread_id, run_id),
        )
    )
