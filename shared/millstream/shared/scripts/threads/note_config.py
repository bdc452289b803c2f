"""Stores the config of a run on its thread: see note_config.lua."""

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.locations import of_thread

SCRIPT = Script("threads/note_config")


async def note_config(redis: Client, claim: Claim, config: bytes) -> None:
    """Stores the config (JSON) on the run's thread, for reads of the thread (threads.get_config).

    Raises FencedError, without a change, if the caller lost the lease or a rollback was requested.
    """
    thread, run = claim.spec.thread_id, claim.spec.run_id
    is_stored = await SCRIPT(
        redis,
        run=keys.run(thread, run),
        thread=keys.thread(thread),
        fence=claim.fence,
        running=RunStatus.RUNNING,
        config=key_ring_of(redis).seal(of_thread(thread, "config"), config),
    )
    if not is_stored:
        raise FencedError(f"run {run} is held by another worker")
