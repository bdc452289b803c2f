"""One run for a protocol that waits for it: admitted, followed, and its end. What MCP and A2A have in common."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from millstream.api.context import RequestContext
from millstream.api.runs import admission
from millstream.api.runs.operations import Followed
from millstream.shared.errors import UnavailableError
from millstream.shared.events.entries import Entry
from millstream.shared.events.hub import Reader
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED
from millstream.shared.wire import RunRequest

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
PAUSE: Final = 0.2  # s between attempts while Redis is away


@dataclass(frozen=True, slots=True)
class Invocation:
    """A run that a client waits for."""

    followed: Followed

    @property
    def thread_id(self) -> str:
        """The thread."""
        return self.followed.thread_id

    @property
    def run_id(self) -> str:
        """The run."""
        return self.followed.run_id

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yields the run's entries to its end; raises UnavailableError if the process stops before."""
        async with aclosing(entries_of(self.followed.reader)) as entries:
            async for entry in entries:
                self.followed.watch.sent((entry,))
                yield entry


async def entries_of(reader: Reader) -> AsyncGenerator[Entry, None]:
    """Yields what a reader reads, to the end of the run; an outage of Redis is waited for.

    Raises UnavailableError if the process stops before.
    """
    while not reader.ended:
        await reader.news.wait()
        if reader.closing:
            raise UnavailableError("The server is restarting; the run goes on.")
        while entries := await retry_while_unavailable(reader.read):
            for entry in entries:
                yield entry


async def retry_while_unavailable(asked: Callable[[], Awaitable[Answer]]) -> Answer:
    """Returns what is asked of Redis, of which a client waits anyway: once Redis is there."""
    while True:
        try:
            return await asked()
        except UNAVAILABLE as error:
            log.warning("Redis is away, an answer waits: %r", error)
            await asyncio.sleep(PAUSE)


@contextmanager
def outages_told(context: RequestContext) -> Iterator[None]:
    """Turns what Redis does not do now, inside of the block, into UnavailableError."""
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
) -> AsyncIterator[Invocation]:
    """Admits a run as `admission.admit` does, and follows it inside of the block from its first event on."""
    followed = await admission.admit_followed(context, request, thread_id, answers=answers)
    followed.watch.opened()
    try:
        yield Invocation(followed)
    finally:
        followed.reader.close()
        followed.watch.closed()
