"""The routes of an assistant's graph: its schemas, its drawing, its subgraphs. A worker responds.

The assistant may be named by its graph, as RemoteGraph and the streams of the Python SDK do.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.assistants import graph_operations, operations
from millstream.api.assistants.schemas import DrawQuery, SubgraphsQuery
from millstream.api.http.body import forward_json, query_model
from millstream.api.http.context import context_of


async def schemas(request: Request) -> Response:
    """`GET /assistants/{assistant_id}/schemas`: Returns the JSON schemas of the graph.

    They describe its input, output, state, config and context.
    """
    return await _call(request, "schemas", {})


async def draw(request: Request) -> Response:
    """`GET /assistants/{assistant_id}/graph`: Returns the graph's nodes and edges; `xray` expands subgraphs."""
    return await _call(request, "graph", {"xray": query_model(request, DrawQuery).xray})


async def subgraphs(request: Request) -> Response:
    """`GET /assistants/{assistant_id}/subgraphs`: Returns the schemas of the graph's subgraphs, by namespace."""
    query = query_model(request, SubgraphsQuery)
    namespace = request.path_params.get("namespace")
    return await _call(request, "subgraphs", {"namespace": namespace, "recurse": query.recurse})


async def _call(request: Request, verb: str, arguments: dict[str, Any]) -> Response:
    context = context_of(request)
    resolved = await operations.resolve(context, request.path_params["assistant_id"])
    return forward_json(await graph_operations.call(context, resolved, verb, arguments))
