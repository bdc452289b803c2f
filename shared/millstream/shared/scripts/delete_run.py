"""Delete an ended run: see delete_run.lua."""

from millstream.shared import keys
from millstream.shared.lifecycle import TERMINAL
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("delete_run")


async def delete_run(redis: Client, thread_id: str, run_id: str) -> str:
    """Returns 'deleted', 'missing', or the status of a run that has not ended and so stays."""
    reply = await SCRIPT(
        redis,
        [
            keys.run(thread_id, run_id),
            keys.events(thread_id, run_id),
            keys.runs(thread_id),
            keys.turns(thread_id),
        ],
        [run_id, *sorted(TERMINAL)],
    )
    return str(reply.decode())
