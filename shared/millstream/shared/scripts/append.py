"""Append events under a fence: see append.lua. The flusher sends many runs in one round trip."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from millstream.shared import keys
from millstream.shared.lifecycle import RunStatus
from millstream.shared.redis import Client
from millstream.shared.scripts.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("append")


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
    commands: list[tuple[Any, ...]] = []
    for claim, number, words, after in batches:
        thread, run = claim.spec.thread_id, claim.spec.run_id
        commands.append(
            (
                2,
                keys.run(thread, run),
                keys.events(thread, run),
                claim.fence,
                RunStatus.RUNNING.value,
                max_events,
                f"{claim.fence}:{number}",
                after,
                *words,
            )
        )
    try:
        return await _send(redis, commands)
    except NoScriptError:
        # With its source: a failover may lie between loading it and sending its hash again.
        return await _send(redis, commands, source=True)


async def _send(
    redis: Client, commands: list[tuple[Any, ...]], *, source: bool = False
) -> list[Any]:
    name, script = ("EVAL", SCRIPT.source) if source else ("EVALSHA", SCRIPT.sha)
    if len(commands) == 1:
        return [await redis.execute_command(name, script, *commands[0])]  # type: ignore[no-untyped-call]
    pipe = redis.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(name, script, *command)
    return await pipe.execute()
