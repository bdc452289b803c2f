"""One run for a protocol that waits for it: admitted, followed, and its end. What MCP and A2A have in common."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import HTTPConnection

from millstream.api.http.sse import PAUSE
from millstream.api.runs.routes import submission_of, submit
from millstream.api.threads.state_routes import ask
from millstream.shared import runs
from millstream.shared.assistants import Resolved
from millstream.shared.errors import UnavailableError
from millstream.shared.events.entries import START, Entry
from millstream.shared.events.hub import Reader
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED
from millstream.shared.runs import RunRecord
from millstream.shared.runs.submission import OWN, config_of_assistant
from millstream.shared.wire import PLAIN, RunRequest, unpack_kwargs

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
KEPT: Final = 1000  # assistants whose schemas a process keeps
BELIEVED: Final = 60.0  # s for which schemas are not asked for again


@dataclass(frozen=True, slots=True)
class Invocation:
    """A run that somebody follows."""

    thread_id: str
    run_id: str
    reader: Reader

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yields the run's entries to its end; raises UnavailableError if the process stops before."""
        async for entry in entries_of(self.reader):
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
def outages_told(request: HTTPConnection) -> Iterator[None]:
    """Turns what Redis does not do now, inside of the block, into UnavailableError."""
    try:
        yield
    except UNAVAILABLE:
        raise UnavailableError("Redis is not reachable. Try again shortly.") from None
    except WRITES_REJECTED as error:
        request.app.state.access.recheck()
        log.warning("Redis refuses what a call needs: %s", error)
        raise UnavailableError("Redis refuses this now: `GET /ok` says why.") from None


@asynccontextmanager
async def invoked(
    request: HTTPConnection,
    asked: RunRequest,
    thread_id: str | None = None,
    *,
    answers: bytes | None = None,
) -> AsyncIterator[Invocation]:
    """Admits a run and gives it to be followed from its first event on; of no thread, on one of its own.

    `answers` are the interrupts (JSON) on which the thread must still wait. Raises what admission raises.
    """
    run_id = str(uuid.uuid4())
    thread = thread_id or runs.stateless_thread_id(run_id)
    reader = await request.app.state.hub.open(thread, run_id, START, fresh=True)
    try:
        submitted = await submission_of(request, asked, run_id, thread)
        await submit(request, replace(submitted, answers=answers))
        yield Invocation(thread, run_id, reader)
    finally:
        reader.close()


def config_of(record: RunRecord) -> dict[str, Any]:
    """Returns what a run was configured with, as fields of a RunRequest: for the run that goes on with it."""
    kwargs = unpack_kwargs(record.spec.kwargs)
    config = kwargs.config
    return {
        "configurable": {k: v for k, v in config.get("configurable", {}).items() if k not in OWN},
        "context": {k: v for k, v in kwargs.context.items() if k not in OWN},
        **{name: config.get(name) for name in PLAIN},
        "durability": kwargs.durability,
    }


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class GraphSchemas:
    """The JSON schemas of what a graph takes and answers; {} where it can't say."""

    input: dict[str, Any]
    output: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KnownSchemas:
    """What a worker told, of which version and deployment, and until when (monotonic) that is believed."""

    of: tuple[int, int]
    until: float
    schemas: GraphSchemas


async def schemas_of(request: HTTPConnection, resolved: Resolved) -> GraphSchemas:
    """Returns the schemas of the assistant's graph.

    A worker is asked for each version of the assistant, when a worker has announced the graph anew, and after a
    while, for older workers may still answer during a deploy. What is known holds while none answers.

    Raises what `ask` raises.
    """
    known: dict[str, KnownSchemas] = request.app.state.graph_schemas
    record, graph = resolved.record, resolved.graph
    assistant_id, of = record.assistant.assistant_id, (record.version, graph.renewed_at)
    last = known.get(assistant_id)
    if last is not None and last.of == of and time.monotonic() < last.until:
        return last.schemas
    schemas = last.schemas if last is not None else None
    try:
        config = config_of_assistant(record.assistant)
        told = msgspec.json.decode(
            await ask(request, graph.graph_id, "schemas", {"config": config})
        )
        taken, answered = told["input_schema"] or {}, told["output_schema"] or {}
        if schemas is None or (schemas.input, schemas.output) != (taken, answered):
            schemas = GraphSchemas(taken, answered)
    except UnavailableError:
        if schemas is None:
            raise
    if len(known) >= KEPT and assistant_id not in known:
        known.clear()
    known[assistant_id] = KnownSchemas(of, time.monotonic() + BELIEVED, schemas)
    return schemas
