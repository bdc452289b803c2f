"""Hands a running run back to the queue: see hand_back.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, edges
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/hand_back")


async def hand_back(redis: Client, claim: Claim, *, reason: str = "", crash: str = "") -> bool:
    """Gives up the lease, so that another worker resumes the run; returns False if the lease was lost.

    Args:
        reason: why, for the journal (StopReason of the worker).
        crash: how the run crashed the process in which it was executed alone. The attempt then counts against
            the run's maximum.
    """
    spec = claim.spec
    running, pending = edges(Cause.HANDED_BACK)
    reply = await SCRIPT(
        redis,
        run=keys.run(spec.thread_id, spec.run_id),
        queue=keys.queue(spec.queue),
        backlog=keys.backlog(spec.queue),
        wake=keys.wake(spec.queue),
        job=claim.job,
        fence=claim.fence,
        running=running,
        pending=pending,
        reason=reason,
        crash=crash,
    )
    return bool(reply)
