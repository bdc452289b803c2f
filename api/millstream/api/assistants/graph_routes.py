"""What an assistant's graph looks like: its schemas, its picture, its subgraphs. A worker answers.

The assistant may be named by its graph, as RemoteGraph and the streams of the Python SDK do.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.assistants import graph_operations, operations
from millstream.api.assistants.schemas import DrawnQuery, SubgraphsQuery
from millstream.api.http.body import forwarded, query_model
from millstream.api.http.context import context_of


async def schemas(request: Request) -> Response:
    """`GET /assistants/{assistant_id}/schemas`: JSON schemas of what goes in, comes out, is kept."""
    return await _call(request, "schemas", {})


async def drawn(request: Request) -> Response:
    """`GET /assistants/{assistant_id}/graph`: nodes and edges; `xray` draws subgraphs in their nodes."""
    return await _call(request, "graph", {"xray": query_model(request, DrawnQuery).xray})


async def subgraphs(request: Request) -> Response:
    """`GET /assistants/{assistant_id}/subgraphs`: the schemas of each, by its namespace."""
    query = query_model(request, SubgraphsQuery)
    namespace = request.path_params.get("namespace")
    return await _call(request, "subgraphs", {"namespace": namespace, "recurse": query.recurse})


async def _call(request: Request, verb: str, arguments: dict[str, Any]) -> Response:
    context = context_of(request)
    resolved = await operations.resolve(context, request.path_params["assistant_id"])
    return forwarded(await graph_operations.call(context, resolved, verb, arguments))
