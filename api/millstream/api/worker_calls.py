"""Calls to a worker, about a graph or to the store."""

import time
from collections.abc import Mapping
from typing import Any

from millstream.api.auth.permits import Permit
from millstream.api.context import RequestContext
from millstream.shared import calls, keys
from millstream.shared.assistants import default_assistant_id
from millstream.shared.errors import InvalidError, UnavailableError
from millstream.shared.tracing.context import request_id_of
from millstream.shared.wire import TOO_DEEP


async def call_graph(
    context: RequestContext, permit: Permit, graph_id: str, verb: str, arguments: Mapping[str, Any]
) -> bytes:
    """Returns a worker's reply about a graph, as JSON. The default assistant is the graph's own.

    The permit is the one for what the call does.

    Raises:
        UnavailableError: no worker serves the graph.
        MillstreamError: other errors of `calls.call_worker`.
    """
    try:
        graph = await permit.directory.graph(graph_id)
    except InvalidError:
        raise UnavailableError(
            f"No worker is running that serves graph {graph_id!r}.", retry_after=5
        ) from None
    try:
        return await _call(
            context,
            permit,
            keys.call_queue(graph.graph_id),
            graph.graph_id,
            verb,
            {"assistant_id": default_assistant_id(graph.graph_id), **arguments},
        )
    except RecursionError:  # the arguments may be nested too deep to encode
        raise InvalidError(TOO_DEEP) from None


async def call_store(
    context: RequestContext, permit: Permit, verb: str, arguments: dict[str, Any]
) -> bytes:
    """Returns a worker's reply about the long-term store, as JSON. Raises what `calls.call_worker` raises."""
    return await _call(context, permit, keys.STORE, "", verb, arguments)


async def _call(
    context: RequestContext,
    permit: Permit,
    queue: str,
    graph_id: str,
    verb: str,
    arguments: dict[str, Any],
) -> bytes:
    begun = time.monotonic()
    try:
        return await calls.call_worker(
            permit.redis,
            permit.process.blocking,
            queue=queue,
            graph_id=graph_id,
            verb=verb,
            arguments=arguments,
            within=context.settings.call_timeout,
            request_id=request_id_of(context.caller.request_id),
            user=context.packed_user,
        )
    finally:
        context.observer.called(verb, time.monotonic() - begun)
