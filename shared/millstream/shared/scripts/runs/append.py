"""Append events under a fence: see append.lua. The flusher sends many runs in one round trip."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/append")


class Batch(NamedTuple):
    """Events of one run that are written together."""

    claim: Claim
    number: int  # rises with each batch of a claim: a repeat of the last one changes nothing
    words: Sequence[str | bytes]  # event name, JSON data, …
    after: int = 0  # the index of the newest event that is known: these come after it


async def append(
    redis: Client,
    batches: Iterable[Batch],
    *,
    max_events: int,
) -> list[int | None]:
    """Appends a batch to each of several runs in one round trip.

    Args:
        batches: one a run.
        max_events: entries kept of a stream, about.

    Returns for each run the index of its newest event; None means that its lease is lost.
    """
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
                "words": words,
            }
            for claim, number, words, after in batches
        ],
    )
