"""The routes of the long-term store. Workers read and write it, because they have its library."""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import forward_json, query_model, read_model
from millstream.api.http.context import context_of
from millstream.api.store.schemas import ItemDelete, ItemGet, ItemPut, ItemSearch, NamespaceSearch
from millstream.api.worker_calls import call_store
from millstream.shared.wire import to_json


async def put(request: Request) -> Response:
    """`PUT /store/items`: Creates an item, or replaces its value."""
    body = await read_model(request, ItemPut)
    arguments = body.model_dump()
    arguments["value"] = to_json(
        body.value
    )  # as JSON, because msgpack can't carry every JSON value
    await call_store(context_of(request), "store_put", arguments)
    return Response(status_code=204)


async def get(request: Request) -> Response:
    """`GET /store/items`: Returns an item, or null."""
    query = query_model(request, ItemGet)
    return forward_json(await call_store(context_of(request), "store_get", query.model_dump()))


async def delete(request: Request) -> Response:
    """`DELETE /store/items`: Deletes an item; 204 also if it does not exist."""
    body = await read_model(request, ItemDelete)
    await call_store(context_of(request), "store_delete", body.model_dump())
    return Response(status_code=204)


async def search(request: Request) -> Response:
    """`POST /store/items/search`: Returns a page of items: the most similar first, or without a query the newest."""
    body = await read_model(request, ItemSearch, empty=True)
    arguments = body.model_dump()
    arguments["filter"] = to_json(body.filter)
    return forward_json(await call_store(context_of(request), "store_search", arguments))


async def namespaces(request: Request) -> Response:
    """`POST /store/namespaces`: Returns a page of the namespaces, in alphabetical order."""
    body = await read_model(request, NamespaceSearch, empty=True)
    return forward_json(
        await call_store(context_of(request), "store_namespaces", body.model_dump())
    )
