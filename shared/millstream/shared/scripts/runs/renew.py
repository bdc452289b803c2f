"""Renews leases: see renew.lua."""

from collections.abc import Sequence
from typing import Any, Literal

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/renew")
Renewal = Literal["held", "lost", "interrupt", "rollback"]


def arguments(claim: Claim, lease_ms: int) -> dict[str, Any]:
    """Returns the arguments of one call of the script."""
    spec = claim.spec
    return {
        "run": keys.run(spec.thread_id, spec.run_id),
        "queue": keys.queue(spec.queue),
        "job": claim.job,
        "fence": claim.fence,
        "lease": lease_ms,
        "running": RunStatus.RUNNING,
    }


async def renew_all(redis: Client, claims: Sequence[Claim], lease_ms: int) -> list[Renewal]:
    """Renews the leases in one round trip; returns the state of each: held, lost, or the action of a requested cancel.

    A lease whose run has a cancel is renewed too.

    Args:
        redis: the client.
        claims: one for each run.
        lease_ms: milliseconds from now until the leases lapse.
    """
    calls = [arguments(claim, lease_ms) for claim in claims]
    return [reply.decode() for reply in await SCRIPT.many(redis, calls)]
