"""Connections that follow the master: each new one asks the sentinels where it is.

Sentinel's own rules for clients: ask the sentinels one after the other, connect to the server that
they name, and make sure that it is a master: a sentinel that was away may name one of yesterday.
redis-py's classes for Sentinel are not used: their pool does not wait for a free connection, they
believe whatever a sentinel says, and a failover lets each connection ask for itself.
"""

import asyncio
import time
from typing import Any, Final

from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from millstream.shared.redis.errors import UNAVAILABLE, RefusedWriteError, named
from millstream.shared.redis.url import Address, Watched

ANSWER_WITHIN: Final = 1.0  # s that one sentinel has for connecting, and again for its answer
FRESH: Final = 0.1  # s for which an answer serves all: a failover moves hundreds of connections
# s of silence, after which the sentinels are asked whether the master is another by now, and again
# after as much. A server that vanished with its machine never says that it is gone.
SILENCE: Final = 1.0


class Sentinels:
    """The sentinels of one master, and what they said of it. For one event loop."""

    def __init__(self, watched: Watched) -> None:
        """Asks nobody yet."""
        self.known: Address | None = None  # the latest answer
        self._watched = watched
        self._order = list(watched.sentinels)
        self._asked = -FRESH
        self._silence = ""  # why the latest question had no answer; empty if it had one
        self._lock = asyncio.Lock()  # one question at a time

    async def master(self) -> Address:
        """Returns where the master is; raises redis-py's ConnectionError if no sentinel ever told."""
        async with self._lock:
            if time.monotonic() - self._asked >= FRESH:
                await self._ask_in_turn()
                self._asked = time.monotonic()
        # While no sentinel answers, the latest answer stands: a master needs none to continue, and
        # whether it still is one is asked of itself.
        if self.known is None:
            raise RedisConnectionError(
                f"No sentinel tells where the master {self._watched.master!r} is: {self._silence}"
            )
        return self.known

    def doubt(self, address: Address) -> None:
        """Takes note that the answer was of no use: the next question goes to another sentinel."""
        if address == self.known:
            self._order.append(self._order.pop(0))

    async def _ask_in_turn(self) -> None:
        reasons = []
        for sentinel in tuple(self._order):
            try:
                self.known = await self._ask(sentinel)
            except (*UNAVAILABLE, ResponseError) as error:
                reasons.append(f"{sentinel[0]}:{sentinel[1]} {error}")
            else:
                self._order.remove(sentinel)
                self._order.insert(0, sentinel)  # the next time it is asked first
                self._silence = ""
                return
        self._silence = "; ".join(reasons)

    async def _ask(self, sentinel: Address) -> Address:
        options: dict[str, Any] = dict(parse_url(self._watched.sentinel_url))
        options |= {"host": sentinel[0], "port": sentinel[1]}
        options |= {"socket_timeout": ANSWER_WITHIN, "socket_connect_timeout": ANSWER_WITHIN}
        connection = options.pop("connection_class", Connection)(**options)
        try:
            await connection.connect()
            await connection.send_command(
                "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._watched.master
            )
            reply = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        if not reply:
            raise RedisConnectionError("knows no master of that name")
        return reply[0].decode(), int(reply[1])


def following(kind: type[Any], sentinels: Sentinels) -> type[Any]:  # noqa: C901 - all methods are counted
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
