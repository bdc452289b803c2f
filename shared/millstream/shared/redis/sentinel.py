"""Connections to the master that sentinels name, also after a failover.

The rules are Sentinel's guidelines for clients: query the sentinels one after the other, connect to the server that one
of them names, and check that it is a master, because a sentinel that was unavailable may name an old one. redis-py's
classes for Sentinel are not used: their pool does not wait for a free connection, they trust every sentinel, and in a
failover each connection queries the sentinels by itself.
"""

import asyncio
import time
from typing import Any, Final

from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from millstream.shared.redis.errors import UNAVAILABLE, RefusedWriteError, classify
from millstream.shared.redis.url import Address, SentinelUrl

SENTINEL_TIMEOUT_SECONDS: Final = 1.0  # to connect to a sentinel, and again for its reply
CACHE_SECONDS: Final = 0.1  # a reply serves all connections, of which a failover moves hundreds
# Without a reply for this time, a connection checks whether the master has changed, and again after each further such
# time: a server whose machine failed closes no connection.
CHECK_SECONDS: Final = 1.0


class Sentinels:
    """The sentinels of one master, and their latest reply. For one event loop."""

    def __init__(self, url: SentinelUrl) -> None:
        """Sends nothing yet."""
        self.known: Address | None = None  # of the latest reply
        self._url = url
        self._order = list(url.sentinels)
        self._queried_at = -CACHE_SECONDS
        self._failure = ""  # why the latest query had no reply; '' if it had one
        self._lock = asyncio.Lock()  # one query at a time

    async def master(self) -> Address:
        """Returns the master's address; raises redis-py's ConnectionError if no sentinel has ever named it."""
        async with self._lock:
            if time.monotonic() - self._queried_at >= CACHE_SECONDS:
                await self._query_sentinels()
                self._queried_at = time.monotonic()
        # While no sentinel replies, the latest address stays: a master works without sentinels, and each connection
        # checks that the server is still a master.
        if self.known is None:
            raise RedisConnectionError(
                f"No sentinel knows the address of the master {self._url.master!r}: {self._failure}"
            )
        return self.known

    def report_failure(self, address: Address) -> None:
        """Notes that the address is wrong: the next query goes to another sentinel first."""
        if address == self.known:
            self._order.append(self._order.pop(0))

    async def _query_sentinels(self) -> None:
        reasons = []
        for sentinel in tuple(self._order):
            try:
                self.known = await self._query(sentinel)
            except (*UNAVAILABLE, ResponseError) as error:
                reasons.append(f"{sentinel[0]}:{sentinel[1]} {error}")
            else:
                self._order.remove(sentinel)
                self._order.insert(0, sentinel)  # it is tried first the next time
                self._failure = ""
                return
        self._failure = "; ".join(reasons)

    async def _query(self, sentinel: Address) -> Address:
        options: dict[str, Any] = dict(parse_url(self._url.sentinel_url))
        options |= {"host": sentinel[0], "port": sentinel[1]}
        options |= {
            "socket_timeout": SENTINEL_TIMEOUT_SECONDS,
            "socket_connect_timeout": SENTINEL_TIMEOUT_SECONDS,
        }
        connection = options.pop("connection_class", Connection)(**options)
        try:
            await connection.connect()
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.master)
            reply = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        if not reply:
            raise RedisConnectionError("knows no master of that name")
        return reply[0].decode(), int(reply[1])


def follow_master(kind: type[Any], sentinels: Sentinels) -> type[Any]:  # noqa: C901 - all methods are counted
    """Returns a subclass of the connection class that always connects to the current master."""

    class Following(kind):  # type: ignore[misc]
        """A connection to the master. READONLY or a new master makes it reconnect."""

        _is_suspect = False
        _watching: asyncio.Task[None] | None = None

        async def connect(self) -> None:
            """Connects, unless it is connected to the known master."""
            if self.is_connected and (
                self._is_suspect or (self.host, self.port) != sentinels.known
            ):
                await self.disconnect(nowait=True)
            await super().connect()

        async def _connect(self) -> None:
            self.host, self.port = address = await sentinels.master()
            self._is_suspect = False
            try:
                await super()._connect()
            except OSError:
                sentinels.report_failure(address)
                raise

        async def on_connect(self) -> None:
            """Sends the handshake and checks that the server is a master."""
            await super().on_connect()
            await self.send_command("HELLO", check_health=False)
            try:
                hello = await self.read_response()
            except ResponseError:
                return  # the user lacks the permission: a write will show a replica
            if _is_replica(hello):
                sentinels.report_failure((self.host, self.port))
                raise RedisConnectionError(f"{self.host}:{self.port} is a replica, not a master")

        async def read_response(self, *args: Any, **options: Any) -> Any:
            """Returns a reply; a rejected write means that the master may have changed."""
            watch = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._watch)
            try:
                return _raise_read_only(await super().read_response(*args, **options))
            except ResponseError as error:
                classified = classify(error)
                if isinstance(classified, (ReadOnlyError, RefusedWriteError)):
                    self._is_suspect = True
                if isinstance(classified, ReadOnlyError):
                    await self.disconnect(nowait=True)
                    raise _demoted_error(self.host, self.port) from None
                raise
            finally:
                watch.cancel()
                if self._watching is not None:
                    self._watching.cancel()
                    self._watching = None

        def _watch(self) -> None:
            self._watching = asyncio.create_task(self._break_off_if_outdated())

        async def _break_off_if_outdated(self) -> None:
            """Aborts the connection if its server is not the master any more, so that the wait for its reply ends."""
            while True:
                try:
                    if await sentinels.master() != (self.host, self.port):
                        break
                except UNAVAILABLE:
                    pass  # no sentinel replies: the connection stays
                await asyncio.sleep(CHECK_SECONDS)
            if self._writer is not None:
                self._writer.transport.abort()

    return Following


def _is_replica(hello: Any) -> bool:
    """Returns whether the reply to HELLO, a map or a flat list, is that of a replica."""
    pairs = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2], strict=False))
    return pairs.get(b"role") in (b"replica", b"slave")


def _raise_read_only(reply: Any) -> Any:
    """Returns the reply; raises the READONLY error that a command in a transaction got."""
    if type(reply) is list and ReadOnlyError in map(type, reply):
        raise next(item for item in reply if type(item) is ReadOnlyError)
    return reply


def _demoted_error(host: str, port: int) -> RedisConnectionError:
    return RedisConnectionError(f"{host}:{port} was the master, and is a replica now")
