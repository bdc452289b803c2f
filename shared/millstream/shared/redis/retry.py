"""Retries calls while Redis is unavailable or takes no writes.

A restart, a failover or a full memory of Redis must not fail a run, so its writes are repeated until they succeed.
That is safe, because scripts tolerate a repeat and refuse a worker that has lost its lease meanwhile. It ends, because
a worker that can't renew its leases stops its graphs, which cancels the wait.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from millstream.shared.redis import OUTAGE_ERRORS, UNAVAILABLE, OutageLog

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.05  # each further pause is twice as long
MAX_PAUSE_SECONDS: Final = 1.0

Result = TypeVar("Result")


async def retry_while_unavailable(
    what: str,
    call: Callable[[], Awaitable[Result]],
    *,
    check: Callable[[], None] | None = None,
    rejected: bool = True,
) -> Result:
    """Returns the result of the call, which is repeated while Redis is unavailable; raises any other error.

    Args:
        what: names the call in the log.
        call: is called for each try.
        check: is called before each try; an error that it raises ends the retries.
        rejected: whether to retry also while Redis rejects the call (WRITES_REJECTED). False where a client waits,
            which must get that error at once.
    """
    errors = OUTAGE_ERRORS if rejected else UNAVAILABLE
    pause = FIRST_PAUSE_SECONDS
    outages = OutageLog(log, what)
    while True:
        if check is not None:
            check()
        try:
            return await call()
        except errors as error:
            outages.failed(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
