"""Listening to channels on one connection.

redis-py's own PubSub is not made for subscribing in one task while another reads: each would open or
repair the connection while the other uses it. Here one task owns the connection: it opens it,
subscribes to all channels, and reads; others only send their command on an open one.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import AbstractConnection

from millstream.shared.redis import UNAVAILABLE, Client, OutageLog
from millstream.shared.redis.outage_log import RETRY_SECONDS

log = logging.getLogger(__name__)


class Subscriber:
    """Listens to channels, and calls `on_message(channel, confirmed, data)` for each message.

    With `confirmed` Redis has just subscribed this connection, and `data` is empty: messages that were published
    before, also while the connection was lost, did not arrive.
    """

    def __init__(
        self,
        blocking: Client,
        on_message: Callable[[str, bool, bytes], None],
        *,
        name: str = "The subscription to notifications",
        on_lost: Callable[[], None] | None = None,
        on_recovered: Callable[[float], None] | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            blocking: a client whose connections may wait without a timeout.
            on_message: called in the event loop.
            name: what the log calls it.
            on_lost: called in the event loop when the connection breaks, or can't be opened.
            on_recovered: called in the event loop when it is open again, with the seconds since it broke.
        """
        self._blocking = blocking
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_recovered = on_recovered
        self._lost_at: float | None = None  # monotonic
        self._channels: set[str] = set()
        self._connection: AbstractConnection | None = None  # while it is open and subscribed
        self._writing = asyncio.Lock()  # one command at a time is written
        self._pinged = False
        self._outages = OutageLog(log, name)

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
                self._report_recovered()
                while True:
                    self._take(await connection.read_response())
            except Exception as error:  # noqa: BLE001 - it is logged
                self._outages.failed(error)
                if self._lost_at is None:
                    self._lost_at = time.monotonic()
                if self._on_lost is not None:
                    self._on_lost()
            finally:
                self._connection = None
                await connection.disconnect(nowait=True)
            await asyncio.sleep(RETRY_SECONDS)

    def _report_recovered(self) -> None:
        if self._lost_at is not None:
            seconds, self._lost_at = time.monotonic() - self._lost_at, None
            if self._on_recovered is not None:
                self._on_recovered(seconds)

    async def _say(self, *arguments: str) -> None:
        async with self._writing:
            connection = self._connection
            if connection is None:
                return  # the task that opens it subscribes to all channels
            try:
                await connection.send_command(*arguments)
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
            self._on_message(channel, True, b"")
        elif kind == b"message":
            self._on_message(channel, False, reply[2])
