"""Hand a running run back to the queue: see hand_back.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, edges
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/hand_back")


async def hand_back(redis: Client, claim: Claim, *, crash: str = "") -> bool:
    """Gives the run up, so that another worker goes on with it; returns False if it was lost.

    `crash` says how a process ended in which nothing but this run was executed: the attempt is then
    used up, and the run is exhausted after some of them.
    """
    spec = claim.spec
    running, pending = edges(Cause.HANDED_BACK)
    reply = await SCRIPT(
        redis,
        run=keys.run(spec.thread_id, spec.run_id),
        queue=keys.queue(spec.queue),
        wake=keys.wake(spec.queue),
        job=claim.job,
        fence=claim.fence,
        running=running,
        pending=pending,
        crash=crash,
    )
    return bool(reply)
