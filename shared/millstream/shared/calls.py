"""Questions that need a graph: the API asks, a worker answers, on a queue apart from the runs."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, Final

from millstream.shared import keys
from millstream.shared.errors import (
    ConflictError,
    GraphError,
    InvalidError,
    MillstreamError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    UnavailableError,
)
from millstream.shared.queue import BLOCKING_GRACE_SECONDS, live_workers, redis_time
from millstream.shared.redis import Client
from millstream.shared.wire import Call, Reply, pack, unpack_call, unpack_reply

MAX_WAITING_CALLS: Final = 10_000  # questions that wait

# What a worker may refuse a question with, by the word that crosses Redis.
KINDS: Final[dict[str | None, type[MillstreamError]]] = {
    "conflict": ConflictError,
    "graph": GraphError,
    "invalid": InvalidError,
    "not_found": NotFoundError,
    "refused": RefusedError,
    "too_large": TooLargeError,
    "unavailable": UnavailableError,
}


async def call_worker(
    redis: Client,
    blocking: Client,
    *,
    queue: str,
    graph_id: str,
    verb: str,
    arguments: dict[str, Any],
    within: float,
) -> bytes:
    """Asks a worker and waits for its answer: JSON, to be forwarded unread.

    Args:
        blocking: a client whose connections may block; one is taken for the wait.
        queue: where those listen who can answer: keys.call_queue(graph_id), say.
        graph_id: the graph it is about; empty for a queue that is no graph's.
        verb: a name in worker/call_server.py.
        within: seconds; after it no worker starts on the question any more.

    Raises:
        UnavailableError: no live worker listens, none answered in time, or what it needs is away.
        ConflictError, GraphError, InvalidError, NotFoundError, RefusedError, TooLargeError: as the
            worker says.
        MillstreamError: the worker failed on the question.
    """
    subject = f"graph {graph_id!r}" if graph_id else f"the {queue}"
    workers, now = await live_workers(redis, queue)
    if not workers:
        raise UnavailableError(
            f"No worker is running that serves {subject}. Start one (`millstream worker`), or look into its "
            "log.",
            retry_after=5,
        )
    call = Call(
        call_id=uuid.uuid4().hex,
        verb=verb,
        graph_id=graph_id,
        arguments=arguments,
        deadline=now + within,
    )
    pipe = redis.pipeline(transaction=False)
    pipe.rpush(keys.calls(queue), pack(call))
    pipe.ltrim(
        keys.calls(queue), -MAX_WAITING_CALLS, -1
    )  # of frozen workers; who asked so long ago has gone
    await pipe.execute()
    seconds: Any = within
    async with asyncio.timeout(within + BLOCKING_GRACE_SECONDS):
        answer = await blocking.blpop([keys.reply(call.call_id)], timeout=seconds)  # type: ignore[misc]
    if answer is None:
        raise UnavailableError(
            f"No worker answered for {subject} within {within:g} s. Try again; if it stays so, the workers "
            "have too much to do, or the graph's code blocks.",
            retry_after=5,
        )
    reply = unpack_reply(answer[1])
    if reply.error is not None:
        raise KINDS.get(reply.kind, MillstreamError)(reply.error)
    return reply.body


async def take_call(
    redis: Client, blocking: Client, queues: Sequence[str], within: float
) -> Call | None:
    """Returns the next question of the queues, or None after `within` seconds without one."""
    seconds: Any = within
    async with asyncio.timeout(within + BLOCKING_GRACE_SECONDS):
        popped = await blocking.blpop([keys.calls(queue) for queue in queues], timeout=seconds)  # type: ignore[misc]
    if popped is None:
        return None
    call = unpack_call(popped[1])
    return call if call.deadline > await redis_time(redis) else None


async def send_reply(redis: Client, call: Call, reply: Reply) -> None:
    """Sends the answer; it is kept for a minute, for a caller that may have gone."""
    key = keys.reply(call.call_id)
    pipe = redis.pipeline(transaction=True)
    pipe.rpush(key, pack(reply))
    pipe.expire(key, 60)
    await pipe.execute()
