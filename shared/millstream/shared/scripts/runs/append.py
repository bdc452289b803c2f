"""Appends events under a fence: see append.lua. One call writes the events of many runs in one round trip."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.fields import seal_events

SCRIPT = Script("runs/append")


class Batch(NamedTuple):
    """Events of one run that are written in one step."""

    claim: Claim
    number: int  # rises with each batch of a claim; a repeated number changes nothing
    items: Sequence[str | bytes]  # event name, JSON data, …
    after: int = 0  # index of the newest event that the caller knows


async def append(
    redis: Client,
    batches: Iterable[Batch],
    *,
    max_events: int,
) -> list[int | None]:
    """Appends batches to several runs in one round trip.

    Args:
        batches: one for each run.
        max_events: number of entries that a stream keeps, approximately.

    Returns the index of each run's newest event, or None where the claim has lost its lease.
    """
    key_ring = key_ring_of(redis)
    return await SCRIPT.many(
        redis,
        [
            {
                "run": keys.run(claim.spec.thread_id, claim.spec.run_id),
                "events": keys.events(claim.spec.thread_id, claim.spec.run_id),
                "fence": claim.fence,
                "running": RunStatus.RUNNING,
                "max_events": max_events,
                "batch": f"{claim.fence}:{number}",
                "after": after,
                "items": seal_events(key_ring, claim.spec, items),
            }
            for claim, number, items, after in batches
        ],
    )
