"""What a loop says of the trouble that it has with Redis: once a cause, not with each try."""

import asyncio
import logging
import time
from typing import Final

from millstream.shared.redis.errors import OUTAGE_ERRORS, UNAVAILABLE

PAUSE: Final = 0.2  # s before a loop tries again
AGAIN: Final = 60.0  # s after which a cause that goes on is said again


class OutageLog:
    """Of one loop. `log` is its module's; `doing` names it at the start of a sentence."""

    def __init__(self, log: logging.Logger, doing: str) -> None:
        """Nothing has been logged yet."""
        self._log = log
        self._doing = doing
        self._said: dict[str, float] = {}  # cause → monotonic time
        self._away = False

    def failed(self, error: Exception) -> None:
        """Says it, unless it was said a short time ago. What is unexpected is said with its traceback."""
        known = isinstance(error, OUTAGE_ERRORS)
        self._away = self._away or isinstance(error, UNAVAILABLE)
        # An outage has many words: a refused connection, then silence, then a server that is loading.
        cause = (
            "away" if isinstance(error, UNAVAILABLE) else f"{type(error).__name__}: {error}"[:200]
        )
        now = time.monotonic()
        if now - self._said.get(cause, -AGAIN) < AGAIN:
            return
        self._said = {c: at for c, at in self._said.items() if now - at < AGAIN} | {cause: now}
        if known:
            self._log.warning("%s: Redis is away or refuses, trying again: %s", self._doing, error)
        else:
            self._log.error("%s stumbled, trying again", self._doing, exc_info=error)

    async def wait_after(self, error: Exception) -> None:
        """Logs the error and returns after the pause with which each loop waits for Redis."""
        self.failed(error)
        await asyncio.sleep(PAUSE)

    def recovered(self) -> None:
        """Redis has answered: the next outage is another one. Other causes may come with each try."""
        if self._away:
            self._away = False
            self._said.pop("away", None)
