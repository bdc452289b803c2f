"""The long-term store, which workers read and write: they have its library."""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import forwarded, query_model, read_model
from millstream.api.http.context import context_of
from millstream.api.store.schemas import ItemDelete, ItemGet, ItemPut, ItemSearch, NamespaceSearch
from millstream.api.worker_calls import call_store
from millstream.shared.wire import to_json


async def put(request: Request) -> Response:
    """`PUT /store/items`: creates the item, or replaces its value."""
    body = await read_model(request, ItemPut)
    arguments = body.model_dump()
    arguments["value"] = to_json(body.value)  # as it is: JSON carries what msgpack would not
    await call_store(context_of(request), "store_put", arguments)
    return Response(status_code=204)


async def get(request: Request) -> Response:
    """`GET /store/items`: the item, or null."""
    query = query_model(request, ItemGet)
    return forwarded(await call_store(context_of(request), "store_get", query.model_dump()))


async def delete(request: Request) -> Response:
    """`DELETE /store/items`: 204 also if there was none."""
    body = await read_model(request, ItemDelete)
    await call_store(context_of(request), "store_delete", body.model_dump())
    return Response(status_code=204)


async def search(request: Request) -> Response:
    """`POST /store/items/search`: nearest first with a query, else those that were updated last."""
    body = await read_model(request, ItemSearch, empty=True)
    arguments = body.model_dump()
    arguments["filter"] = to_json(body.filter)
    return forwarded(await call_store(context_of(request), "store_search", arguments))


async def namespaces(request: Request) -> Response:
    """`POST /store/namespaces`: in the order of their names."""
    body = await read_model(request, NamespaceSearch, empty=True)
    return forwarded(await call_store(context_of(request), "store_namespaces", body.model_dump()))
