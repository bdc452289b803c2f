"""Creates a cron: see create_cron.lua."""

from typing import Any, Final

from millstream.shared import keys
from millstream.shared.errors import NotFoundError, RightsChangedError
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.wire import Cron, pack

SCRIPT = Script("crons/create_cron")
NEVER: Final = "+inf"
NO_THREAD: Final = "none"  # in the keys of a cron without a thread: no thread has this id


def due_score(due_ms: int | None) -> int | str:
    """Returns the score in `keys.crons()`: the due time, or +inf for None, which is never due."""
    return NEVER if due_ms is None else due_ms


async def create_cron(
    redis: Client,
    cron: Cron,
    *,
    payload: bytes,
    request: bytes,
    due_ms: int | None,
    guard: str = "",
) -> int:
    """Writes the cron; returns its time of creation in µs.

    Args:
        payload: JSON.
        request: a packed `wire.RunRequest`.
        due_ms: None for never.
        guard: of the thread's metadata by which the caller's rights were judged (parts/guard.lua).

    Raises:
        RightsChangedError: the thread's metadata is not the judged one any more.
        NotFoundError: the cron's thread does not exist.
    """
    thread = cron.thread_id or NO_THREAD
    fields: dict[str, Any] = {"cron": pack(cron), "payload": payload, "request": request}
    created = await SCRIPT(
        redis,
        cron=keys.cron(cron.cron_id),
        crons=keys.crons(),
        thread=keys.thread(thread),
        crons_of_thread=keys.crons_of(thread),
        cron_id=cron.cron_id,
        due=due_score(due_ms),
        on_thread="" if cron.thread_id is None else "1",
        guard=guard,
        fields=pairs(fields),
    )
    if created == b"rejudge":
        raise RightsChangedError
    if not created:
        raise NotFoundError("Thread or assistant not found.")
    return int(created)
