"""What only a worker knows of an assistant's graph: its schemas, its picture, its subgraphs."""

from typing import Any

import msgspec

from millstream.api import worker_calls
from millstream.api.context import RequestContext
from millstream.api.graph_schemas import GraphSchemas
from millstream.shared.assistants import Resolved
from millstream.shared.errors import UnavailableError
from millstream.shared.runs.submission import config_of_assistant


async def call(
    context: RequestContext, resolved: Resolved, verb: str, arguments: dict[str, Any]
) -> bytes:
    """Returns what a worker says of the assistant's graph, as JSON; raises what `worker_calls.call_graph` raises."""
    config = config_of_assistant(resolved.assistant)  # a graph's factory may look at it
    return await worker_calls.call_graph(
        context, resolved.graph.graph_id, verb, {**arguments, "config": config}
    )


async def schemas_of(context: RequestContext, resolved: Resolved) -> GraphSchemas:
    """Returns the schemas of the assistant's graph.

    They come from a worker: once for each version of the assistant and each announcement of the graph, and again
    after a while, because older workers may still answer during a deploy. What is known holds while none answers.

    Raises what `worker_calls.call_graph` raises.
    """
    known = context.process.graph_schemas
    record, graph = resolved.record, resolved.graph
    assistant_id, of = record.assistant.assistant_id, (record.version, graph.renewed_at)
    if (fresh := known.fresh(assistant_id, of)) is not None:
        return fresh
    schemas = known.last(assistant_id)
    try:
        reply = msgspec.json.decode(await call(context, resolved, "schemas", {}))
        taken, answered = reply["input_schema"] or {}, reply["output_schema"] or {}
        if schemas is None or (schemas.input, schemas.output) != (taken, answered):
            schemas = GraphSchemas(taken, answered)
    except UnavailableError:
        if schemas is None:
            raise
    known.keep(assistant_id, of, schemas)
    return schemas
