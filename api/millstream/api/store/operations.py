"""The use cases of the long-term store. A worker reads and writes it, because it has the store's library."""

from typing import Final, TypeVar

from pydantic import BaseModel

from millstream.api.context import RequestContext
from millstream.api.store.schemas import ItemDelete, ItemGet, ItemPut, ItemSearch, NamespaceSearch
from millstream.api.worker_calls import call_store
from millstream.shared.access import Ask
from millstream.shared.wire import to_json

Body = TypeVar("Body", bound=BaseModel)
# Names of the question whose field has another name.
RENAMED: Final = {"namespace_prefix": "namespace", "prefix": "namespace"}


async def put(context: RequestContext, body: ItemPut) -> None:
    """Creates an item, or replaces its value."""
    await _call(context, "store.put", "store_put", body, as_json="value")


async def get(context: RequestContext, query: ItemGet) -> bytes:
    """Returns an item, or null, as JSON."""
    return await _call(context, "store.get", "store_get", query)


async def delete(context: RequestContext, body: ItemDelete) -> None:
    """Deletes an item, if it exists."""
    await _call(context, "store.delete", "store_delete", body)


async def search(context: RequestContext, body: ItemSearch) -> bytes:
    """Returns a page of items, as JSON."""
    return await _call(context, "store.search", "store_search", body, as_json="filter")


async def namespaces(context: RequestContext, body: NamespaceSearch) -> bytes:
    """Returns a page of namespaces, as JSON."""
    return await _call(context, "store.list_namespaces", "store_namespaces", body)


async def _call(
    context: RequestContext, ask: Ask, verb: str, body: BaseModel, *, as_json: str = ""
) -> bytes:
    """Returns the worker's reply to the request as the decider left it.

    `as_json` names a field that is sent as JSON, because msgpack can't carry every JSON value. Raises pydantic's
    ValidationError if the decider has left an invalid request.
    """
    fields = body.model_dump()
    permit = await context.authorize(
        ask, {RENAMED.get(name, name): fields[name] for name in fields}
    )
    left = {name: permit.value.get(RENAMED.get(name, name)) for name in fields}
    if left != fields:
        for name, namespace in left.items():
            if isinstance(namespace, tuple):
                left[name] = list(namespace)
        fields = type(body).model_validate(left).model_dump()
    if as_json:
        fields[as_json] = to_json(fields[as_json])
    return await call_store(context, permit, verb, fields)
