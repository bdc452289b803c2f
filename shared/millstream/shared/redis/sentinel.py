"""Connections that follow the master: each new one asks the sentinels where it is.

Sentinel's own rules for clients: ask the sentinels one after the other, connect to the server that
they name, and make sure that it is a master: a sentinel that was away may name one of yesterday.
redis-py's classes for Sentinel are not used: their pool does not wait for a free connection, they
believe whatever a sentinel says, and a failover lets each connection ask for itself.
"""

import asyncio
import time
from typing import Any, Final

from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import parse_url as async_parse_url
from redis.connection import Connection as SyncConnection
from redis.connection import parse_url as sync_parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from millstream.shared.redis.errors import UNAVAILABLE, RefusedWriteError, named
from millstream.shared.redis.url import Address, Watched

PATIENCE: Final = 1.0  # s that one sentinel has for connecting, and again for its answer
FRESH: Final = 0.1  # s for which an answer serves all: a failover moves hundreds of connections
# s of silence, after which the sentinels are asked whether the master is another by now, and again
# after as much. A server that vanished with its machine never says that it is gone.
SILENCE: Final = 1.0


class _Sentinels:
    """What is known of the master; the rest differs between threads and the event loop."""

    def __init__(self, watched: Watched) -> None:
        self.known: Address | None = None  # the latest answer
        self._watched = watched
        self._order = list(watched.sentinels)
        self._asked = -FRESH
        self._silence = ""  # why the latest question had no answer; empty if it had one
        self._reasons: list[str] = []

    def doubt(self, address: Address) -> None:
        """Takes note that the answer was of no use: the next question goes to another sentinel."""
        if address == self.known:
            self._order.append(self._order.pop(0))

    def _options(self, parsed: Any, sentinel: Address) -> dict[str, Any]:
        options = dict(parsed) | {"host": sentinel[0], "port": sentinel[1]}
        options |= {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
        return options

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._asked < FRESH

    def _take(self, sentinel: Address, reply: Any) -> bool:
        """Takes the sentinel's answer; tells whether it was one."""
        if not reply:
            self._silent(sentinel, "knows no master of that name")
            return False
        self.known = reply[0].decode(), int(reply[1])
        self._order.remove(sentinel)
        self._order.insert(0, sentinel)  # who has answered is asked first the next time
        return True

    def _silent(self, sentinel: Address, reason: object) -> None:
        self._reasons.append(f"{sentinel[0]}:{sentinel[1]} {reason}")

    def _conclude(self) -> None:
        self._silence = "; ".join(self._reasons)
        self._asked = time.monotonic()

    def _answer(self) -> Address:
        # While no sentinel answers, the latest answer stands: a master needs none to go on, and
        # whether it still is one is asked of itself.
        if self.known is None:
            raise RedisConnectionError(
                f"No sentinel tells where the master {self._watched.master!r} is: {self._silence}"
            )
        return self.known


class AsyncSentinels(_Sentinels):
    """The sentinels as asked from an event loop."""

    def __init__(self, watched: Watched) -> None:
        """Must be made in the event loop that uses it."""
        super().__init__(watched)
        self._writing = asyncio.Lock()

    async def master(self) -> Address:
        """Returns where the master is; raises redis-py's ConnectionError if none ever told."""
        async with self._writing:
            if not self._is_fresh():
                self._reasons = []
                for sentinel in tuple(self._order):
                    if await self._ask(sentinel):
                        self._reasons = []
                        break
                self._conclude()
            return self._answer()

    async def _ask(self, sentinel: Address) -> bool:
        options = self._options(async_parse_url(self._watched.sentinel_url), sentinel)
        connection = options.pop("connection_class", AsyncConnection)(**options)
        try:
            await connection.connect()
            await connection.send_command(
                "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._watched.master
            )
            return self._take(sentinel, await connection.read_response())
        except (*UNAVAILABLE, ResponseError) as error:
            self._silent(sentinel, error)
            return False
        finally:
            await connection.disconnect(nowait=True)


class SyncSentinels(_Sentinels):
    """The sentinels as asked from one thread."""

    def master(self) -> Address:
        """Returns where the master is; raises redis-py's ConnectionError if none ever told."""
        if not self._is_fresh():
            self._reasons = []
            for sentinel in tuple(self._order):
                if self._ask(sentinel):
                    self._reasons = []
                    break
            self._conclude()
        return self._answer()

    def _ask(self, sentinel: Address) -> bool:
        parsed = sync_parse_url(self._watched.sentinel_url)  # type: ignore[no-untyped-call]
        options = self._options(parsed, sentinel)
        connection = options.pop("connection_class", SyncConnection)(**options)
        try:
            connection.connect()
            connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._watched.master)
            return self._take(sentinel, connection.read_response())
        except (*UNAVAILABLE, ResponseError) as error:
            self._silent(sentinel, error)
            return False
        finally:
            connection.disconnect()


def following(kind: type[Any], sentinels: AsyncSentinels) -> type[Any]:  # noqa: C901 - all methods are counted
    """Returns the kind of connection, but one that connects to the master, wherever it is."""

    class Following(kind):  # type: ignore[misc]
        """A connection to the master; READONLY and a master elsewhere make it connect anew."""

        _doubtful = False
        _watching: asyncio.Task[None] | None = None

        async def connect(self) -> None:
            """Connects, unless it is connected to the master that is known."""
            if self.is_connected and (self._doubtful or (self.host, self.port) != sentinels.known):
                await self.disconnect(nowait=True)
            await super().connect()

        async def _connect(self) -> None:
            self.host, self.port = address = await sentinels.master()
            self._doubtful = False
            try:
                await super()._connect()
            except OSError:
                sentinels.doubt(address)
                raise

        async def on_connect(self) -> None:
            """Greets the server, which must be a master."""
            await super().on_connect()
            await self.send_command("HELLO", check_health=False)
            try:
                hello = await self.read_response()
            except ResponseError:
                return  # a user that may not ask: writes will show it
            if _is_replica(hello):
                sentinels.doubt((self.host, self.port))
                raise RedisConnectionError(f"{self.host}:{self.port} is a replica, no master")

        async def read_response(self, *args: Any, **options: Any) -> Any:
            """Returns a reply; a refused write tells that the master may be another by now."""
            watch = asyncio.get_running_loop().call_later(SILENCE, self._watch)
            try:
                return _written(await super().read_response(*args, **options))
            except ResponseError as error:
                refusal = named(error)
                if isinstance(refusal, (ReadOnlyError, RefusedWriteError)):
                    self._doubtful = True
                if isinstance(refusal, ReadOnlyError):
                    await self.disconnect(nowait=True)
                    raise _demoted(self.host, self.port) from None
                raise
            finally:
                watch.cancel()
                if self._watching is not None:
                    self._watching.cancel()
                    self._watching = None

        def _watch(self) -> None:
            self._watching = asyncio.create_task(self._break_off_if_outdated())

        async def _break_off_if_outdated(self) -> None:
            """Wakes who waits for a server that is the master no more: its connection breaks."""
            while True:
                try:
                    if await sentinels.master() != (self.host, self.port):
                        break
                except UNAVAILABLE:
                    pass  # nobody knows better
                await asyncio.sleep(SILENCE)
            if self._writer is not None:
                self._writer.transport.abort()

    return Following


def following_sync(kind: type[Any], sentinels: SyncSentinels) -> type[Any]:
    """Returns the kind of connection, but one that connects to the master, wherever it is."""

    class Following(kind):  # type: ignore[misc]
        """A connection to the master; READONLY and a master elsewhere make it connect anew."""

        _doubtful = False

        def connect(self) -> None:
            """Connects, unless it is connected to the master that is known."""
            if self._sock and (self._doubtful or (self.host, self.port) != sentinels.known):
                self.disconnect()
            super().connect()

        def _connect(self) -> Any:
            self.host, self.port = address = sentinels.master()
            self._doubtful = False
            try:
                return super()._connect()
            except OSError:
                sentinels.doubt(address)
                raise

        def on_connect(self) -> None:
            """Greets the server, which must be a master."""
            super().on_connect()
            self.send_command("HELLO", check_health=False)
            try:
                hello = self.read_response()
            except ResponseError:
                return  # a user that may not ask: writes will show it
            if _is_replica(hello):
                sentinels.doubt((self.host, self.port))
                raise RedisConnectionError(f"{self.host}:{self.port} is a replica, no master")

        def read_response(self, *args: Any, **options: Any) -> Any:
            """Returns a reply; a refused write tells that the master may be another by now."""
            try:
                return _written(super().read_response(*args, **options))
            except ResponseError as error:
                refusal = named(error)
                if isinstance(refusal, (ReadOnlyError, RefusedWriteError)):
                    self._doubtful = True
                if isinstance(refusal, ReadOnlyError):
                    self.disconnect()
                    raise _demoted(self.host, self.port) from None
                raise

    return Following


def _is_replica(hello: Any) -> bool:
    """Reads the reply to HELLO: a map, or names and values by turns."""
    pairs = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2], strict=False))
    return pairs.get(b"role") in (b"replica", b"slave")


def _written(reply: Any) -> Any:
    """Returns the reply; raises the READONLY that one command of a transaction got."""
    if type(reply) is list and ReadOnlyError in map(type, reply):
        raise next(item for item in reply if type(item) is ReadOnlyError)
    return reply


def _demoted(host: str, port: int) -> RedisConnectionError:
    return RedisConnectionError(f"{host}:{port} was the master, and is a replica now")
