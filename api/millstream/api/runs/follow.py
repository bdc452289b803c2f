"""Admits a run and follows it to its end, for the protocols that wait for it: MCP and A2A."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from millstream.api.context import RequestContext
from millstream.api.runs import admission
from millstream.api.runs.operations import FollowedRun
from millstream.shared.errors import UnavailableError
from millstream.shared.events.entries import Entry
from millstream.shared.redis.retry import retry_while_unavailable
from millstream.shared.wire import RunRequest

Result = TypeVar("Result")


@contextmanager
def open_stream(followed: FollowedRun) -> Iterator[FollowedRun]:
    """Reports the run's stream as open inside of the block, and closes its reader after it."""
    followed.watch.opened()
    try:
        yield followed
    finally:
        followed.reader.close()
        followed.watch.closed()


async def entries_of(followed: FollowedRun) -> AsyncGenerator[Entry, None]:
    """Yields the run's entries to its end. Waits while Redis is unavailable.

    Raises UnavailableError if the process stops first.
    """
    reader = followed.reader
    while not reader.ended:
        await reader.news.wait()
        if reader.closing:
            raise UnavailableError("The server is restarting; the run continues.")
        while entries := await read_when_reachable(reader.read):
            followed.watch.sent(entries, slow=reader.fell_behind)
            for entry in entries:
                yield entry


async def read_when_reachable(read: Callable[[], Awaitable[Result]]) -> Result:
    """Returns the result of a read, once Redis is reachable. The client waits for its response anyway."""
    return await retry_while_unavailable("The response to a call", read, rejected=False)


@asynccontextmanager
async def invoke(
    context: RequestContext,
    request: RunRequest,
    thread_id: str | None = None,
    *,
    answers: bytes | None = None,
) -> AsyncIterator[FollowedRun]:
    """Admits a run as `admission.admit` does, and follows it from its first event inside of the block."""
    followed = await admission.admit_and_follow(context, request, thread_id, answers=answers)
    with open_stream(followed):
        yield followed
