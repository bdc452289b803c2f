"""The clients of a process, with their pools and their patience."""

import asyncio
import socket
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from millstream.shared.redis import sentinel
from millstream.shared.redis.errors import named
from millstream.shared.redis.url import parse

Client = Redis  # replies are bytes throughout: nothing is decoded before it has to be

GRACE: Final = 5.0  # s beyond its own timeout that a blocking command may take to answer
# s, s and times: a server that vanished with its machine never says that it is gone.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}


def connect(
    url: str, *, connections: int = 64, reply_timeout: float | None = 10.0, repeats: int = 2
) -> Client:
    """Returns a client with its own pool; nothing is sent yet.

    Through sentinels, each connection that it opens goes to the server that is the master then.

    Args:
        url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `rediss+sentinel://`.
        connections: the most it opens; further callers wait for one, and after 20 s in vain hear
            what they would hear if Redis was away.
        reply_timeout: seconds to wait for a reply; None for connections that block on purpose.
        repeats: how often a command is sent again, at once, if its connection breaks; with 0 the
            caller hears of every break.

    Raises SettingError for a URL that can't be used.
    """
    watched = parse(url)
    pool = BlockingConnectionPool.from_url(
        url if watched is None else watched.data_url,
        max_connections=connections,
        timeout=20,
        socket_timeout=reply_timeout,
        socket_connect_timeout=5 if watched is None else 2,  # the next try may go elsewhere
        # A check reads its answer from the connection; one that blocks is being read from already.
        health_check_interval=0 if reply_timeout is None else 30,
        # One repeat heals a connection that the server closed while it lay idle. Scripts are
        # written so that a repeat does no harm. Silence is not asked twice: the caller waits.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), repeats, (RedisConnectionError,)),
        retry_on_error=[RedisConnectionError],
    )
    kind: type[Any] = pool.connection_class
    if kind is not UnixDomainSocketConnection:
        pool.connection_kwargs.update(socket_keepalive=True, socket_keepalive_options=_keepalive())
    if watched is not None:
        kind = sentinel.following(kind, sentinel.Sentinels(watched))
    pool.connection_class = _careful(kind)
    return Redis.from_pool(pool)


def _keepalive() -> dict[int, int]:
    if not hasattr(socket, "SOL_TCP"):  # where redis-py could not set them
        return {}
    return {
        getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)
    }


def _careful(kind: type[Any]) -> type[Any]:
    """Returns the kind of connection, but one that its task can rely on.

    It never swallows the cancel of its task: redis-py sends within `asyncio.wait_for`, which on
    Python 3.11 forgets a cancel that arrives just as it is done: a worker would not stop, a
    cancelled graph would run on.

    It never waits for ever: where there is no timeout for replies, one that blocks on purpose still
    says for how long, and a server that has hung by then gives no answer any more.
    """

    class Careful(kind):  # type: ignore[misc]
        """A connection whose waits end, and which names each refused write."""

        _within: float | None = None  # s for the next reply, where there is no timeout for all

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            """Sends the command; raises the CancelledError that came meanwhile."""
            task = asyncio.current_task()
            before = task.cancelling() if task else 0
            try:
                await super().send_packed_command(command, check_health)
            except RuntimeError as error:
                # uvloop's word for a connection that is closed, and that nobody has read from since.
                raise RedisConnectionError(f"the connection is closed: {error}") from None
            if task and task.cancelling() > before:
                await self.disconnect(nowait=True)  # nobody will read the reply
                raise asyncio.CancelledError

        async def on_connect(self) -> None:
            """Greets the server, which has GRACE for each of its answers."""
            self._within = GRACE
            await super().on_connect()
            self._within = None

        async def send_command(self, *words: Any, **options: Any) -> None:
            """Sends a command, given as its words."""
            await super().send_command(*words, **options)
            if words[0] == "BLPOP":
                self._within = float(words[-1]) + GRACE

        async def read_response(self, *args: Any, **options: Any) -> Any:
            """Returns a reply; raises one of WRITES_REJECTED if Redis takes no writes."""
            within = self._within if self.socket_timeout is None else None
            try:
                async with asyncio.timeout(within):
                    return await super().read_response(*args, **options)
            except ResponseError as error:
                told = named(error)
                if isinstance(told, ReadOnlyError):
                    # It was the master: the name may lead to another by now.
                    await self.disconnect(nowait=True)
                raise told from None
            except TimeoutError:
                raise RedisTimeoutError(f"no answer within {within:g} s") from None

    return Careful
