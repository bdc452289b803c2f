"""Marks a run as the only one that its worker executes: see mark_alone.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/mark_alone")


async def mark_alone(redis: Client, claim: Claim) -> bool:
    """Marks the run; returns False if the lease was lost."""
    spec = claim.spec
    reply = await SCRIPT(
        redis,
        run=keys.run(spec.thread_id, spec.run_id),
        fence=claim.fence,
        running=RunStatus.RUNNING,
    )
    return bool(reply)
