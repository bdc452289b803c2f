"""Calls from the API to a worker that need the graph's code, on queues apart from the runs."""

import asyncio
import re
import uuid
from collections.abc import Sequence
from typing import Any, Final

from millstream.shared import keys
from millstream.shared.access import User, unpack_user
from millstream.shared.errors import (
    ConflictError,
    GraphError,
    InvalidError,
    MillstreamError,
    NotFoundError,
    RefusedError,
    SealedError,
    TooLargeError,
    UnavailableError,
)
from millstream.shared.queue import BLOCKING_GRACE_SECONDS, redis_time
from millstream.shared.redis import Client
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.locations import of_call
from millstream.shared.sealing.structs import pack_call, pack_reply, unpack_sealed_reply
from millstream.shared.wire import Call, Reply, unpack_call
from millstream.shared.workers import live_workers

# The token with which the graph of a call, such as its factory, calls the API as the user of the call. It is valid
# until the reply, and only API and worker know the id. Runs have tokens of their own (runs/access.py).
TOKEN: Final = re.compile(r"call\.([0-9a-f]{32})")
MAX_WAITING_CALLS: Final = 10_000  # in one queue

# What a call may ask a worker to do (worker/answers).
VERBS: Final = (
    "copy", "prune", "schemas", "graph", "subgraphs", "state", "history", "update", "seed",
    "store_put", "store_get", "store_delete", "store_search", "store_namespaces",
)  # fmt: skip

# `wire.Reply.kind` → the error that the caller raises.
KINDS: Final[dict[str | None, type[MillstreamError]]] = {
    "conflict": ConflictError,
    "graph": GraphError,
    "invalid": InvalidError,
    "not_found": NotFoundError,
    "refused": RefusedError,
    "sealed": SealedError,  # before its base class
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
    request_id: str = "",
    user: bytes = b"",
) -> bytes:
    """Calls a worker and waits for its reply: JSON, which the caller forwards without decoding it.

    Args:
        blocking: a client whose connections may block; the call holds one until the reply arrives.
        queue: name of the call queue, such as keys.call_queue(graph_id).
        graph_id: the graph that the call needs; '' for a queue that belongs to no graph.
        verb: one of VERBS.
        within: seconds; after it no worker starts the call any more.
        request_id: of the request that the call belongs to, for the worker's log.
        user: JSON of the user that calls (access.User), for the graph's factory.

    Raises:
        UnavailableError: no live worker serves the queue, none replied in time, or the worker lacks
            something that it needs.
        redis.exceptions.RedisError: Redis is unavailable or rejects writes (errors.OUTAGE_ERRORS).
        ConflictError, GraphError, InvalidError, NotFoundError, RefusedError, TooLargeError: the reply has
            this error.
        MillstreamError: the call failed in the worker.
    """
    subject = f"graph {graph_id!r}" if graph_id else f"the {queue}"
    workers, now = await live_workers(redis, queue)
    if not workers:
        # While Redis rejects writes, no worker can report that it is alive: then this write fails with the reason.
        await redis.set(keys.trial("call"), b"", ex=60)
        raise UnavailableError(
            f"No worker is running that serves {subject}. Start one (`millstream worker`), or check its log.",
            retry_after=5,
        )
    call = Call(
        call_id=uuid.uuid4().hex,
        verb=verb,
        graph_id=graph_id,
        arguments=arguments,
        deadline=now + within,
        request_id=request_id,
        user=user,
    )
    pipe = redis.pipeline(transaction=False)
    key_ring = key_ring_of(redis)
    pipe.rpush(keys.calls(queue), pack_call(key_ring, call))
    if user:
        expires = within + BLOCKING_GRACE_SECONDS
        stored = key_ring.seal(of_call(call.call_id, "user"), user)
        pipe.set(keys.call_user(call.call_id), stored, px=round(expires * 1000))
    # Frozen workers let the queue grow; the callers of the oldest calls have given up.
    pipe.ltrim(keys.calls(queue), -MAX_WAITING_CALLS, -1)
    await pipe.execute()
    seconds: Any = within
    async with asyncio.timeout(within + BLOCKING_GRACE_SECONDS):
        popped = await blocking.blpop([keys.reply(call.call_id)], timeout=seconds)  # type: ignore[misc]
    if popped is None:
        raise UnavailableError(
            f"No worker answered for {subject} within {within:g} s. Try again. If this persists, the "
            "workers are overloaded, or the graph's code blocks the event loop.",
            retry_after=5,
        )
    reply = unpack_sealed_reply(key_ring_of(redis), call.call_id, popped[1])
    if reply.error is not None:
        raise KINDS.get(reply.kind, MillstreamError)(reply.error)
    return reply.body


async def take_call(
    redis: Client, blocking: Client, queues: Sequence[str], within: float
) -> Call | None:
    """Takes the next call from the queues; returns None if there is none within `within` seconds, or it is too late."""
    seconds: Any = within
    async with asyncio.timeout(within + BLOCKING_GRACE_SECONDS):
        popped = await blocking.blpop([keys.calls(queue) for queue in queues], timeout=seconds)  # type: ignore[misc]
    if popped is None:
        return None
    call = unpack_call(popped[1])
    return call if call.deadline > await redis_time(redis) else None


async def send_reply(redis: Client, call: Call, reply: Reply) -> None:
    """Sends the reply, which expires after a minute in case the caller has given up."""
    key = keys.reply(call.call_id)
    pipe = redis.pipeline(transaction=True)
    pipe.rpush(key, pack_reply(key_ring_of(redis), call.call_id, reply))
    pipe.expire(key, 60)
    if call.user:
        pipe.delete(keys.call_user(call.call_id))
    await pipe.execute()


def token_of(call: Call) -> str:
    """Returns the token of a call; '' for a call without a user."""
    return f"call.{call.call_id}" if call.user else ""


async def user_of(redis: Client, token: str) -> User | None:
    """Returns the user of the call that the token belongs to; None for an invalid token, or a call with a reply.

    Raises redis.exceptions.RedisError while Redis is unavailable, and SealedError if no key opens the user.
    """
    match = TOKEN.fullmatch(token)
    if match is None:
        return None
    stored = await redis.get(keys.call_user(match[1])) or b""
    return unpack_user(key_ring_of(redis).open(of_call(match[1], "user"), stored))
