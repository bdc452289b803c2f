"""Note on a thread what its run is configured with: see note_config.lua."""

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("threads/note_config")


async def note_config(redis: Client, claim: Claim, config: bytes) -> None:
    """Notes the config (JSON) on the run's thread, for reads of the thread (threads.get_config).

    Raises FencedError if the lease is another's, or a rollback was asked for: nothing was written.
    """
    thread, run = claim.spec.thread_id, claim.spec.run_id
    noted = await SCRIPT(
        redis,
        run=keys.run(thread, run),
        thread=keys.thread(thread),
        fence=claim.fence,
        running=RunStatus.RUNNING,
        config=config,
    )
    if not noted:
        raise FencedError(f"run {run} is held by another worker")
