"""Deletes a retired thread: see delete_thread.lua."""

from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts.script import Script

SCRIPT = Script("threads/delete_thread")


async def delete_thread(
    redis: Client,
    thread_id: str,
    run_ids: Sequence[str],
    other_keys: Sequence[str],
    cron_ids: Sequence[str] = (),
) -> bool:
    """Deletes the thread, its runs and crons, and the other keys that belong to it.

    Returns False, without a change, while a run has not ended.
    """
    runs = [key(thread_id, run_id) for run_id in run_ids for key in (keys.run, keys.events)]
    reply = await SCRIPT(
        redis,
        thread=keys.thread(thread_id),
        waiting=keys.waiting(thread_id),
        retired=keys.retired(),
        runs_with_checkpoints=keys.runs_with_checkpoints(),
        checkpoint_runs=keys.checkpoint_runs(thread_id),
        expiring=keys.expiring(),
        garbage=keys.garbage(),
        crons=keys.crons(),
        segments=keys.segments(thread_id),
        runs_and_events=runs,
        other_keys=[
            *other_keys,
            keys.crons_of(thread_id),
            keys.deferred(thread_id),
            *map(keys.cron, cron_ids),
        ],
        interrupted=RunStatus.INTERRUPTED,
        thread_id=thread_id,
        garbage_member=keys.job_id(thread_id, "deleted"),
        cron_ids=cron_ids,
    )
    return bool(reply)
