"""Append events under a fence: see append.lua. The flusher sends many runs in one round trip."""

from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import NoScriptError

from millstream.shared import keys
from millstream.shared.lifecycle import RunStatus
from millstream.shared.redis import Client
from millstream.shared.scripts.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("append")


async def append(
    redis: Client,
    batches: Iterable[tuple[Claim, int, Sequence[str | bytes]]],
    *,
    max_events: int,
) -> list[bool]:
    """Appends a batch to each of several runs in one round trip.

    Args:
        batches: `(claim, number of the batch, [event name, JSON data, …])`, one a run. The
            number rises with each batch of a claim: a repeat of the last one changes nothing.
        max_events: entries kept of a stream, about.

    Returns for each run whether it was written; False means that its lease is lost.
    """
    commands: list[tuple[Any, ...]] = []
    for claim, number, words in batches:
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
                *words,
            )
        )
    try:
        replies = await _send(redis, commands)
    except NoScriptError:
        # With its source: a failover may lie between loading it and sending its hash again.
        replies = await _send(redis, commands, source=True)
    return [reply == 1 for reply in replies]


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
