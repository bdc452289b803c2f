"""How a process connects to Redis."""

import asyncio
import re
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

Client = Redis  # replies are bytes throughout: nothing is decoded before it has to be

AWAY = (RedisConnectionError, RedisTimeoutError, OSError)
# It is there, but takes no writes: out of memory, a replica, a disk that is full.
REFUSING = (OutOfMemoryError, ReadOnlyError)
_PASSWORD = re.compile(r"(?<=://)([^:@/]*):.*@", re.DOTALL)
_PASSWORD_OPTION = re.compile(r"([?&]password=)[^&]*", re.IGNORECASE)


def connect(url: str, *, connections: int = 64, reply_timeout: float | None = 10.0) -> Client:
    """Returns a client with its own pool; nothing is sent yet.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        connections: the most it opens; further callers wait for one.
        reply_timeout: seconds to wait for a reply; None for connections that block on purpose.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=20,
        socket_timeout=reply_timeout,
        socket_connect_timeout=5,
        socket_keepalive=True,
        # A check reads its answer from the connection; one that blocks is being read from already.
        health_check_interval=0 if reply_timeout is None else 30,
        # One repeat heals a connection that the server closed while it lay idle. Scripts are
        # written so that a repeat does no harm: at the worst a claim waits one lease.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), 2),
        retry_on_error=[RedisConnectionError],
    )
    pool.connection_class = _cancellable(pool.connection_class)
    return Redis.from_pool(pool)


def _cancellable(kind: type[Any]) -> type[Any]:
    """Returns the kind of connection, but one that never swallows the cancel of its task.

    redis-py sends within `asyncio.wait_for`, which on Python 3.11 forgets a cancel that arrives
    just as it is done: a worker would not stop, a cancelled graph would run on.
    """

    class Cancellable(kind):  # type: ignore[misc]
        """A connection whose sending honours a cancel."""

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            """Sends the command; raises the CancelledError that came meanwhile."""
            task = asyncio.current_task()
            before = task.cancelling() if task else 0
            await super().send_packed_command(command, check_health)
            if task and task.cancelling() > before:
                await self.disconnect(nowait=True)  # nobody will read the reply
                raise asyncio.CancelledError

    return Cancellable


def masked(url: str) -> str:
    """Returns a Redis URL that can be shown: `***` stands for its password."""
    # Up to the last @: a password that was not percent-encoded must not leak either.
    return _PASSWORD_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
