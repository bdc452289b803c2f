"""Changes a cron: see update_cron.lua."""

from typing import Literal, cast

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.crons.create_cron import due_score
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.wire import Cron, pack

SCRIPT = Script("crons/update_cron")
Reply = Literal["updated", "missing", "changed"]


async def update_cron(
    redis: Client,
    cron: Cron,
    version: int,
    *,
    due_ms: int | Literal["kept"] | None,
    fields: dict[str, bytes],
) -> Reply:
    """Writes the cron and `fields` of its record; returns the script's status.

    Args:
        version: of the record that the caller read.
        due_ms: None for never; "kept" leaves the due time as it is.
    """
    reply = await SCRIPT(
        redis,
        cron=keys.cron(cron.cron_id),
        crons=keys.crons(),
        cron_id=cron.cron_id,
        version=version,
        due="" if due_ms == "kept" else due_score(due_ms),
        fields=pairs({"cron": pack(cron), **fields}),
    )
    return cast("Reply", reply.decode())
