"""The use cases of an assistant's graph: its schemas, its drawing, its subgraphs. A worker responds."""

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
    """Returns a worker's response about the graph of an assistant that the caller may read, as JSON.

    Raises what `call_graph` raises.
    """
    config = config_of_assistant(resolved.assistant)  # a graph's factory may read it
    return await worker_calls.call_graph(
        context, context.as_server(), resolved.graph.graph_id, verb, {**arguments, "config": config}
    )


async def schemas_of(context: RequestContext, resolved: Resolved) -> GraphSchemas:
    """Returns the schemas of the assistant's graph.

    A worker sends them once per version of the assistant and announcement of the graph, and again after a minute,
    because older workers may respond during a deploy. While no worker responds, the last known ones are valid.

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
        input_schema, output_schema = reply["input_schema"] or {}, reply["output_schema"] or {}
        if schemas is None or (schemas.input, schemas.output) != (input_schema, output_schema):
            schemas = GraphSchemas(input_schema, output_schema)
    except UnavailableError:
        if schemas is None:
            raise
    known.put(assistant_id, of, schemas)
    return schemas
