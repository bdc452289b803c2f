"""Change a cron: see update_cron.lua."""

from typing import Any, Literal

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.create_cron import when_due
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.wire import Cron, pack

SCRIPT = Script("update_cron")


async def update_cron(
    redis: Client,
    cron: Cron,
    version: int,
    *,
    due_ms: int | Literal["kept"] | None,
    fields: dict[str, bytes],
) -> str:
    """Writes the cron and `fields` of its record; returns the script's word for what happened.

    Args:
        version: what the record said when it was read.
        due_ms: when it is due, None if it is not; "kept" leaves that as it is.
    """
    words: dict[str, Any] = {"cron": pack(cron), **fields}
    due = "" if due_ms == "kept" else when_due(due_ms)
    reply = await SCRIPT(
        redis,
        [keys.cron(cron.cron_id), keys.crons()],
        [cron.cron_id, version, due, *pairs(words)],
    )
    return str(reply.decode())
