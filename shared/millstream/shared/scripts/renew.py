"""Renew a lease: see renew.lua. The heartbeat thread calls it through a client of its own."""

from millstream.shared import keys
from millstream.shared.lifecycle import RunStatus
from millstream.shared.scripts.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("renew")


def call(claim: Claim, lease_ms: int) -> tuple[str | int, ...]:
    """Returns what follows the script in the call for one renewal: keys and arguments, counted."""
    spec = claim.spec
    return (
        2,
        keys.run(spec.thread_id, spec.run_id),
        keys.queue(spec.queue),
        claim.job,
        claim.fence,
        lease_ms,
        RunStatus.RUNNING.value,
    )
