"""The copy of all API keys that an API keeps, so that a request costs no round trip to Redis.

It asks Redis for the version of the keys, one number, and reads the keys again if that has changed. All unknown keys
that arrive within a moment share one question, so they can't be used to flood Redis.
"""

import asyncio
import contextlib
import time
from typing import Final

from millstream.shared import scripts
from millstream.shared.api_keys.records import ApiKey, list_keys, read_version
from millstream.shared.api_keys.token import Token
from millstream.shared.redis import OUTAGE_ERRORS, Client

MAX_AGE_SECONDS: Final = (
    2.0  # of the copy: a revoked key is refused after this time, and a round trip
)
# Between two questions because of unknown keys. A new key waits for at most this long at its first use.
UNKNOWN_INTERVAL_SECONDS: Final = 0.2
USE_INTERVAL_SECONDS: Final = 900.0  # between two notes that a key was used
MAX_NOTED: Final = 100  # keys of one round trip


class KeyDirectory:
    """All API keys, as Redis had them a moment ago."""

    def __init__(
        self,
        redis: Client,
        *,
        max_age: float = MAX_AGE_SECONDS,
        unknown_interval: float = UNKNOWN_INTERVAL_SECONDS,
    ) -> None:
        """Reads nothing yet.

        Args:
            redis: the client.
            max_age: seconds after which Redis is asked whether a key has changed.
            unknown_interval: seconds between two questions because of unknown keys.
        """
        self._redis = redis
        self._max_age = max_age
        self._unknown_interval = unknown_interval
        self._records: dict[str, ApiKey] = {}
        self._version: bytes | None = None
        self._is_read = False
        self._checked_at = -max_age  # monotonic time at which the last answered question was sent
        self._clock_ahead_us = 0  # of Redis' clock, before this machine's monotonic one
        self._question: asyncio.Task[None] | None = None
        self._asking_for_unknown = asyncio.Lock()
        self._noted_at: dict[str, float] = {}  # key id → monotonic time of the last note
        self._used: dict[str, None] = {}  # ids of keys whose use is not noted yet

    async def find(self, token: Token) -> ApiKey | None:
        """Returns the record of a key that is accepted now, or None. Raises redis-py's errors in an outage."""
        await self._refresh(time.monotonic() - self._max_age)
        if token.key_id not in self._records:
            await self._ask_for_unknown()
        record = self._records.get(token.key_id)
        if record is None or not token.matches(record.digest):
            return None
        if not record.is_accepted(self._now_us()):
            return None
        self._note_use(record.key_id)
        return record

    def _now_us(self) -> int:
        return int(time.monotonic() * 1e6) + self._clock_ahead_us

    async def _ask_for_unknown(self) -> None:
        """Returns when Redis has answered a question that was sent after this call began."""
        arrived = time.monotonic()
        async with self._asking_for_unknown:
            wait = self._checked_at + self._unknown_interval - time.monotonic()
            if self._checked_at < arrived and wait > 0:
                await asyncio.sleep(wait)
            await self._refresh(arrived)

    async def _refresh(self, since: float) -> None:
        """Asks Redis whether a key has changed, unless it was asked after `since` (monotonic time).

        Requests share the question that is on its way, and its error: in an outage each would wait for the one before.
        """
        while self._checked_at < since:
            if self._question is None or self._question.done():
                self._question = asyncio.create_task(self._ask())
                self._question.add_done_callback(_retrieve)
            await asyncio.shield(self._question)

    async def _ask(self) -> None:
        began = time.monotonic()
        version, now_us = await read_version(self._redis)
        if version != self._version or not self._is_read:
            # After the version: if a key changes meanwhile, the next question reads the keys again.
            records = await list_keys(self._redis)
            self._records = {record.key_id: record for record in records}
            self._version, self._is_read = version, True
        self._clock_ahead_us = now_us - int(began * 1e6)
        self._checked_at = began
        await self._store_uses()

    def _note_use(self, key_id: str) -> None:
        noted_at = self._noted_at.get(key_id)
        if noted_at is None or time.monotonic() - noted_at > USE_INTERVAL_SECONDS:
            self._used[key_id] = None

    async def _store_uses(self) -> None:
        if not self._used:
            return
        key_ids = [*self._used][:MAX_NOTED]
        for key_id in key_ids:
            del self._used[key_id]
            self._noted_at[key_id] = time.monotonic()
        for key_id in self._noted_at.keys() - self._records.keys():
            del self._noted_at[key_id]
        interval_us = int(USE_INTERVAL_SECONDS * 1e6)
        with contextlib.suppress(*OUTAGE_ERRORS):  # the keys are known, so they are accepted
            await scripts.note_key_use(self._redis, key_ids, interval_us=interval_us)


def _retrieve(question: asyncio.Task[None]) -> None:
    """Keeps asyncio from logging an error that no request waits for any more."""
    if not question.cancelled():
        question.exception()
