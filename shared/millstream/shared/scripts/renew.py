"""Renew a lease: see renew.lua. The heartbeat thread calls it through a client of its own."""

from millstream.shared import keys
from millstream.shared.lifecycle import RunStatus
from millstream.shared.scripts.claim import Claim
from millstream.shared.scripts.script import Script, Word

SCRIPT = Script("renew")


def arguments(claim: Claim, lease_ms: int) -> tuple[list[str], list[Word]]:
    """Returns the keys and arguments of one renewal."""
    spec = claim.spec
    return (
        [keys.run(spec.thread_id, spec.run_id), keys.queue(spec.queue)],
        [claim.job, claim.fence, lease_ms, RunStatus.RUNNING],
    )
