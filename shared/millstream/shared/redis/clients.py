"""Creates Redis clients, with their connection pools, timeouts and retries."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from millstream.shared.redis import sentinel
from millstream.shared.redis.errors import classify
from millstream.shared.redis.url import parse
from millstream.shared.sealing import NO_KEYS, KeyRing

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
    key_ring: KeyRing = NO_KEYS,
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

        key_ring: seals what this client stores, and opens what it reads.

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
    if sentinel_url is None and issubclass(kind, SSLConnection):
        _compare_host_name(pool.connection_kwargs)
    if sentinel_url is not None:
        kind = sentinel.follow_master(kind, sentinel.Sentinels(sentinel_url))
    pool.connection_class = _with_reliable_waits(kind, on_reply)
    client = _KeyedClient(connection_pool=pool)
    client.auto_close_connection_pool = True  # as `Redis.from_pool` does
    client.key_ring = key_ring
    return client


class _KeyedClient(Redis):
    """A client with the keys that seal what it stores (`sealing.key_ring_of`)."""

    key_ring = NO_KEYS


def _compare_host_name(options: dict[str, Any]) -> None:
    """Lets a TLS connection accept only a certificate for its host, unless the URL says otherwise.

    redis-py does not: it accepts a certificate of the same authority for any host, and of a public authority
    everybody gets one. Sentinels mostly name servers by address, so with them the option stays off.
    """
    if options.get("ssl_cert_reqs", "required") != "none":
        options.setdefault("ssl_check_hostname", True)


def _keepalive() -> dict[int, int]:
    if not hasattr(socket, "SOL_TCP"):  # a system on which redis-py can't set the options
        return {}
    return {
        getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)
    }


class _NoStopwatch:
    """Measures nothing."""

    __slots__ = ()

    def sent(self) -> None:
        """A command, or several at once, were sent."""

    def name(self, arguments: Sequence[Any]) -> None:
        """The one command that was sent has these arguments."""

    def replied(self) -> None:
        """A reply has arrived, or will not arrive."""


class _Stopwatch(_NoStopwatch):
    """Measures the commands of one connection until their first reply."""

    __slots__ = ("_command", "_on_reply", "_sent_at")

    def __init__(self, on_reply: OnReply) -> None:
        self._on_reply = on_reply
        self._command = ("", "")
        self._sent_at = 0.0  # 0 once the first reply has arrived

    def sent(self) -> None:
        self._command, self._sent_at = ("", ""), time.perf_counter()

    def name(self, arguments: Sequence[Any]) -> None:
        self._command = arguments[0], str(arguments[1]) if len(arguments) > 1 else ""

    def replied(self) -> None:
        if self._sent_at:
            self._on_reply(*self._command, time.perf_counter() - self._sent_at)
            self._sent_at = 0.0


_NO_STOPWATCH: Final = _NoStopwatch()


def _with_reliable_waits(kind: type[Any], on_reply: OnReply | None) -> type[Any]:
    """Returns a subclass of the connection class whose waits always end.

    It never loses the cancel of its task. redis-py sends within `asyncio.wait_for`, which on Python 3.11 loses a
    cancel that arrives just as the send is done: a worker would not stop, and a cancelled graph would continue.

    It never waits without a limit. On a connection without a reply timeout, a blocking command has one of its own, and
    after that time the server counts as hung.

    It calls `on_reply` after each first reply. A subclass for that would cost more than the calls: a further coroutine
    for each command and each reply.
    """

    class Reliable(kind):  # type: ignore[misc]
        """A connection whose waits end, and which classifies rejected writes."""

        _within: float | None = (
            None  # s for the next reply, on a connection without a reply timeout
        )

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._stopwatch = _NO_STOPWATCH if on_reply is None else _Stopwatch(on_reply)

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            """Sends the command; raises CancelledError if the task was cancelled meanwhile."""
            task = asyncio.current_task()
            before = task.cancelling() if task else 0
            try:
                await super().send_packed_command(command, check_health)
            except RuntimeError as error:
                # uvloop raises it for a closed connection that was not read since.
                raise RedisConnectionError(f"the connection is closed: {error}") from None
            self._stopwatch.sent()
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
            self._stopwatch.name(
                arguments
            )  # behind it: a new connection has sent its handshake meanwhile
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
            finally:
                self._stopwatch.replied()

    return Reliable
