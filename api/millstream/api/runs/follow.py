"""One run for a protocol that waits for it: admitted, followed, and its end. What MCP and A2A have in common."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeVar

from millstream.api.context import RequestContext
from millstream.api.runs import admission
from millstream.api.runs.operations import Followed
from millstream.shared.errors import UnavailableError
from millstream.shared.events.entries import Entry
from millstream.shared.redis.retry import retry_while_unavailable
from millstream.shared.wire import RunRequest

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
PAUSE: Final = 0.2  # s between attempts while Redis is unavailable


@contextmanager
def following(followed: Followed) -> Iterator[Followed]:
    """Reports the run's stream as open inside of the block, and closes its reader after it."""
    followed.watch.opened()
    try:
        yield followed
    finally:
        followed.reader.close()
        followed.watch.closed()


async def entries_of(followed: Followed) -> AsyncGenerator[Entry, None]:
    """Yields the run's entries to its end; an outage of Redis is waited for.

    Raises UnavailableError if the process stops before.
    """
    reader = followed.reader
    while not reader.ended:
        await reader.news.wait()
        if reader.closing:
            raise UnavailableError("The server is restarting; the run goes on.")
        while entries := await answered(reader.read):
            followed.watch.sent(entries)
            for entry in entries:
                yield entry


async def answered(read: Callable[[], Awaitable[Answer]]) -> Answer:
    """Returns what is read from Redis for a client that waits anyway, once Redis is reachable."""
    return await retry_while_unavailable("The answer to a call", read, rejected=False)


@asynccontextmanager
async def invoked(
    context: RequestContext,
    request: RunRequest,
    thread_id: str | None = None,
    *,
    answers: bytes | None = None,
) -> AsyncIterator[Followed]:
    """Admits a run as `admission.admit` does, and follows it inside of the block from its first event on."""
    followed = await admission.admit_followed(context, request, thread_id, answers=answers)
    with following(followed):
        yield followed
