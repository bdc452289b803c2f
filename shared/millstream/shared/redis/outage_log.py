"""Logs what an outage fails again and again, a loop or requests: one line for each cause."""

import asyncio
import logging
import time
from typing import Final

from millstream.shared.redis.errors import OUTAGE_ERRORS, UNAVAILABLE

RETRY_SECONDS: Final = 0.2  # before a loop tries again
REPEAT_SECONDS: Final = 60.0  # until a cause that persists is logged again


class OutageLog:
    """The log of one loop, or of all requests.

    Args:
        log: of its module.
        doing: names the loop at the start of a sentence.
    """

    def __init__(self, log: logging.Logger, doing: str) -> None:
        """Logs nothing yet."""
        self._log = log
        self._doing = doing
        self._logged_at: dict[str, float] = {}  # cause → monotonic time
        self._is_unavailable = False

    def failed(self, error: Exception) -> None:
        """Logs the error, unless its cause was logged a short time ago. Unexpected errors get a traceback."""
        is_expected = isinstance(error, OUTAGE_ERRORS)
        self._is_unavailable = self._is_unavailable or isinstance(error, UNAVAILABLE)
        # One cause, because an outage has several errors: a refused connection, a timeout, a server that is loading.
        cause = (
            "unavailable"
            if isinstance(error, UNAVAILABLE)
            else f"{type(error).__name__}: {error}"[:200]
        )
        now = time.monotonic()
        if now - self._logged_at.get(cause, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        self._logged_at = {
            c: at for c, at in self._logged_at.items() if now - at < REPEAT_SECONDS
        } | {cause: now}
        if is_expected:
            self._log.warning(
                "%s: Redis is unavailable or rejects commands: %s", self._doing, error
            )
        else:
            self._log.error("%s failed", self._doing, exc_info=error)

    async def wait_after(self, error: Exception) -> None:
        """Logs the error and returns after the pause before the next try."""
        self.failed(error)
        await asyncio.sleep(RETRY_SECONDS)

    def recovered(self) -> None:
        """Notes that Redis answers: the next outage is logged anew."""
        if self._is_unavailable:
            self._is_unavailable = False
            self._logged_at.pop("unavailable", None)
