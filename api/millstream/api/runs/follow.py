"""One run for a protocol that waits for it: admitted, followed, and its end. What MCP and A2A have in common."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeVar

from millstream.api.context import RequestContext
from millstream.api.runs import admission
from millstream.api.runs.operations import Followed
from millstream.shared.errors import UnavailableError
from millstream.shared.events.entries import Entry
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED
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
        while entries := await retry_while_unavailable(reader.read):
            followed.watch.sent(entries)
            for entry in entries:
                yield entry


async def retry_while_unavailable(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """Returns what the call returns, once Redis is reachable: the client waits for its answer anyway."""
    while True:
        try:
            return await call()
        except UNAVAILABLE as error:
            log.warning("Redis is unavailable, an answer waits: %r", error)
            await asyncio.sleep(PAUSE)


@contextmanager
def unavailable_errors(context: RequestContext) -> Iterator[None]:
    """Turns errors of a Redis that is unavailable or takes no writes into UnavailableError inside of the block."""
    try:
        yield
    except UNAVAILABLE:
        raise UnavailableError("Redis is not reachable. Try again shortly.") from None
    except WRITES_REJECTED as error:
        context.process.access.recheck()
        log.warning("Redis refuses what a call needs: %s", error)
        raise UnavailableError("Redis refuses this now: `GET /ok` says why.") from None


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
