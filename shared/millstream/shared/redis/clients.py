"""Creates Redis clients, with their connection pools, timeouts and retries."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from millstream.shared.redis import sentinel
from millstream.shared.redis.errors import classify
from millstream.shared.redis.url import parse

Client = Redis  # replies are bytes: code decodes only what it needs

DEFAULT_CONNECTIONS: Final = 64  # of one pool
API_BLOCKING_CONNECTIONS: Final = 128  # of an API's pool for commands that wait without a timeout
GRACE: Final = 5.0  # s beyond its timeout until a blocking command must have a reply
# Seconds, seconds and probes. They detect a server whose machine failed, which closes no connection.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}


OnReply = Callable[[str, str, float], None]  # command, its first argument, seconds


def connect(
    url: str,
    *,
    connections: int = DEFAULT_CONNECTIONS,
    reply_timeout: float | None = 10.0,
    repeats: int = 2,
    on_reply: OnReply | None = None,
) -> Client:
    """Returns a client with its own connection pool; it sends nothing yet.

    With sentinels, each new connection goes to the server that is the master at that time.

    Args:
        url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `rediss+sentinel://`.
        connections: maximum number; further callers wait for a free one, for at most 20 s. Then they get the error
            that they get while Redis is unavailable.
        reply_timeout: seconds to wait for a reply; None for connections that execute blocking commands.
        repeats: number of times that a command is sent again, at once, if its connection breaks; with 0 the caller
            gets every error.
        on_reply: called after each first reply, with the time since the command was sent. Several commands that were
            sent at once are one, which is called '' and has one first reply.

    Raises SettingError for an invalid URL.
    """
    sentinel_url = parse(url)
    pool = BlockingConnectionPool.from_url(
        url if sentinel_url is None else sentinel_url.data_url,
        max_connections=connections,
        timeout=20,
        socket_timeout=reply_timeout,
        socket_connect_timeout=5
        if sentinel_url is None
        else 2,  # the next try may connect to another server
        # A health check reads its reply from the connection, which a blocking command does already.
        health_check_interval=0 if reply_timeout is None else 30,
        # A repeat replaces a connection that the server closed while it was idle. Scripts tolerate a repeat.
        # A timeout is not repeated, because the caller has waited already.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), repeats, (RedisConnectionError,)),
        retry_on_error=[RedisConnectionError],
    )
    kind: type[Any] = pool.connection_class
    if kind is not UnixDomainSocketConnection:
        pool.connection_kwargs.update(socket_keepalive=True, socket_keepalive_options=_keepalive())
    if sentinel_url is not None:
        kind = sentinel.follow_master(kind, sentinel.Sentinels(sentinel_url))
    kind = _with_reliable_waits(kind)
    pool.connection_class = kind if on_reply is None else _timed(kind, on_reply)
    return Redis.from_pool(pool)


def _timed(kind: type[Any], on_reply: OnReply) -> type[Any]:
    """Returns a subclass of the connection class that reports the time of each command."""

    class Timed(kind):  # type: ignore[misc]
        """A connection that reports the time of each command."""

        _command: tuple[str, str] = ("", "")
        _sent_at: float | None = None

        async def send_command(self, *arguments: Any, **options: Any) -> None:
            """Sends a command."""
            await super().send_command(*arguments, **options)
            # Behind it: a new connection has sent its handshake meanwhile.
            self._command = str(arguments[0]), str(arguments[1]) if len(arguments) > 1 else ""

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            """Sends one command or several."""
            await super().send_packed_command(command, check_health)
            self._sent_at = time.perf_counter()

        async def read_response(self, *args: Any, **options: Any) -> Any:
            """Returns a reply."""
            try:
                return await super().read_response(*args, **options)
            finally:
                if self._sent_at is not None:
                    on_reply(*self._command, time.perf_counter() - self._sent_at)
                    self._command, self._sent_at = ("", ""), None

    return Timed


def _keepalive() -> dict[int, int]:
    if not hasattr(socket, "SOL_TCP"):  # a system on which redis-py can't set the options
        return {}
    return {
        getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)
    }


def _with_reliable_waits(kind: type[Any]) -> type[Any]:
    """Returns a subclass of the connection class whose waits always end.

    It never loses the cancel of its task. redis-py sends within `asyncio.wait_for`, which on Python 3.11 loses a
    cancel that arrives just as the send is done: a worker would not stop, and a cancelled graph would continue.

    It never waits without a limit. On a connection without a reply timeout, a blocking command has one of its own, and
    after that time the server counts as hung.
    """

    class Reliable(kind):  # type: ignore[misc]
        """A connection whose waits end, and which classifies rejected writes."""

        _within: float | None = (
            None  # s for the next reply, on a connection without a reply timeout
        )

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            """Sends the command; raises CancelledError if the task was cancelled meanwhile."""
            task = asyncio.current_task()
            before = task.cancelling() if task else 0
            try:
                await super().send_packed_command(command, check_health)
            except RuntimeError as error:
                # uvloop raises it for a closed connection that was not read since.
                raise RedisConnectionError(f"the connection is closed: {error}") from None
            if task and task.cancelling() > before:
                await self.disconnect(nowait=True)  # the reply will not be read
                raise asyncio.CancelledError

        async def on_connect(self) -> None:
            """Sends the handshake; each reply must arrive within GRACE."""
            self._within = GRACE
            await super().on_connect()
            self._within = None

        async def send_command(self, *arguments: Any, **options: Any) -> None:
            """Sends a command."""
            await super().send_command(*arguments, **options)
            if arguments[0] == "BLPOP":
                self._within = float(arguments[-1]) + GRACE

        async def read_response(self, *args: Any, **options: Any) -> Any:
            """Returns a reply; raises one of WRITES_REJECTED if Redis takes no writes."""
            within = self._within if self.socket_timeout is None else None
            try:
                async with asyncio.timeout(within):
                    return await super().read_response(*args, **options)
            except ResponseError as error:
                classified = classify(error)
                if isinstance(classified, ReadOnlyError):
                    # The server was the master; its host name may lead to the new master now.
                    await self.disconnect(nowait=True)
                raise classified from None
            except TimeoutError:
                raise RedisTimeoutError(f"no reply within {within:g} s") from None

    return Reliable
