"""The doorbells of streams, heard on one connection.

redis-py's own PubSub is not made for subscribing in one task while another reads: each would open or
mend the connection under the other's hands. Here one task owns the connection: it opens it,
subscribes to all that is listened to, and reads; others only add their word to an open one.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection

from millstream.shared.redis import UNAVAILABLE, Client, OutageLog

log = logging.getLogger(__name__)

PAUSE: Final = 0.2  # s before the connection is opened again


class Subscriber:
    """Listens to channels; `heard(channel, confirmed, word)` is called for each ring.

    `confirmed` tells that Redis has just begun to listen for us: what rang before, also while the
    connection was lost, was not heard. `word` is what was published.
    """

    def __init__(self, blocking: Client, heard: Callable[[str, bool, bytes], None]) -> None:
        """`blocking` is a client whose connections may wait without a timeout."""
        self._blocking = blocking
        self._heard = heard
        self._channels: set[str] = set()
        self._connection: AbstractConnection | None = None  # while it is open and subscribed
        self._writing = asyncio.Lock()  # one command at a time is written
        self._pinged = False
        self._outages = OutageLog(log, "Listening to the doorbells of streams")

    async def listen(self, channel: str) -> None:
        """Listens to the channel from now on, or from when Redis is back."""
        self._channels.add(channel)
        await self._say("SUBSCRIBE", channel)

    async def forget(self, channel: str) -> None:
        """Listens to the channel no more."""
        self._channels.discard(channel)
        await self._say("UNSUBSCRIBE", channel)

    async def check(self) -> None:
        """Asks for a sign of life; without one since the last call the connection is given up."""
        connection = self._connection
        if connection is not None and self._pinged:
            log.warning("Redis has not answered for a while, listening on a new connection")
            await connection.disconnect(nowait=True)
            return
        self._pinged = True
        await self._say("PING")

    async def run(self) -> None:
        """Listens until it is cancelled, whatever becomes of Redis."""
        while True:
            pool = self._blocking.connection_pool
            connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                async with self._writing:
                    if self._channels:
                        await connection.send_command("SUBSCRIBE", *self._channels)
                    self._connection, self._pinged = connection, False
                self._outages.recovered()
                while True:
                    self._take(await connection.read_response())
            except Exception as error:  # noqa: BLE001 - it is logged
                self._outages.failed(error)
            finally:
                self._connection = None
                await connection.disconnect(nowait=True)
            await asyncio.sleep(PAUSE)

    async def _say(self, *words: str) -> None:
        async with self._writing:
            connection = self._connection
            if connection is None:
                return  # whoever opens it subscribes to all
            try:
                await connection.send_command(*words)
            except UNAVAILABLE as error:
                self._outages.failed(error)
                self._connection = None
                await connection.disconnect(nowait=True)

    def _take(self, reply: Any) -> None:
        self._pinged = False
        if not isinstance(reply, list):
            return  # the answer to a ping while nothing is listened to
        kind, channel = reply[0], reply[1].decode()
        if channel not in self._channels:
            return
        if kind == b"subscribe":
            self._heard(channel, True, b"")
        elif kind == b"message":
            self._heard(channel, False, reply[2])
