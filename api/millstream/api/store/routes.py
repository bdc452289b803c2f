"""The routes of the long-term store."""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import forward_json, query_model, read_model
from millstream.api.http.context import context_of
from millstream.api.store import operations
from millstream.api.store.schemas import ItemDelete, ItemGet, ItemPut, ItemSearch, NamespaceSearch


async def put(request: Request) -> Response:
    """`PUT /store/items`: Creates an item, or replaces its value."""
    body = await read_model(request, ItemPut)
    await operations.put(context_of(request), body)
    return Response(status_code=204)


async def get(request: Request) -> Response:
    """`GET /store/items`: Returns an item, or null."""
    query = query_model(request, ItemGet)
    return forward_json(await operations.get(context_of(request), query))


async def delete(request: Request) -> Response:
    """`DELETE /store/items`: Deletes an item; 204 also if it does not exist."""
    body = await read_model(request, ItemDelete)
    await operations.delete(context_of(request), body)
    return Response(status_code=204)


async def search(request: Request) -> Response:
    """`POST /store/items/search`: Returns a page of items: the most similar first, or without a query the newest."""
    body = await read_model(request, ItemSearch, empty=True)
    return forward_json(await operations.search(context_of(request), body))


async def namespaces(request: Request) -> Response:
    """`POST /store/namespaces`: Returns a page of the namespaces, in alphabetical order."""
    body = await read_model(request, NamespaceSearch, empty=True)
    return forward_json(await operations.namespaces(context_of(request), body))
