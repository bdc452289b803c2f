"""Waiting for a Redis that is away, or that takes no writes now.

What a run has to store is not given up because Redis is restarted, fails over, or is out of memory:
the call is repeated until it gets through. That is safe, since the scripts make a repeat harmless and
refuse whoever has lost the lease meanwhile; and it ends, since a worker that can't renew its leases
stops its graphs, which cancels the wait.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from millstream.shared.redis import OUTAGE_ERRORS, UNAVAILABLE, OutageLog

log = logging.getLogger(__name__)

FIRST: Final = 0.05  # s before the first repeat; each pause is twice the one before
LONGEST: Final = 1.0  # s

Result = TypeVar("Result")


async def retry_while_unavailable(
    what: str,
    call: Callable[[], Awaitable[Result]],
    *,
    check: Callable[[], None] | None = None,
    rejected: bool = True,
) -> Result:
    """Returns what the call returns, however often Redis is unavailable before; raises other errors.

    Args:
        what: names it in the log.
        call: made anew for each attempt.
        check: called before each attempt; what it raises ends the wait.
        rejected: whether to wait also while Redis rejects the call (WRITES_REJECTED). A client that waits for an
            answer learns of that at once.
    """
    errors = OUTAGE_ERRORS if rejected else UNAVAILABLE
    pause = FIRST
    outages = OutageLog(log, what)
    while True:
        if check is not None:
            check()
        try:
            return await call()
        except errors as error:
            outages.failed(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)
