"""Reads and writes items of the long-term store, for the API's `/store`."""

import json
from typing import Any

import orjson
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
)
from langgraph.store.base import SearchOp as Search

from millstream.shared.errors import InvalidError
from millstream.shared.redis import WRITES_REJECTED, to_unavailable
from millstream.shared.wire import Call
from millstream.worker.encode import encode
from millstream.worker.store.lazy import ProjectStore


async def put(store: ProjectStore, call: Call) -> bytes:
    """`store_put`: stores an item. Arguments: namespace, key, value (JSON), index, ttl (minutes)."""
    args = call.arguments
    ttl = args["ttl"]
    if ttl is None and store.ttl_config is not None:
        ttl = store.ttl_config.get("default_ttl")
    value = _parse_value(args["value"])
    await _execute(store, PutOp(tuple(args["namespace"]), args["key"], value, args["index"], ttl))
    return b"null"


async def get(store: ProjectStore, call: Call) -> bytes:
    """`store_get`: returns the item, or null. Arguments: namespace, key, refresh_ttl."""
    args = call.arguments
    refresh = _should_refresh(store, args["refresh_ttl"])
    item = await _execute(store, GetOp(tuple(args["namespace"]), args["key"], refresh))
    return encode(None if item is None else show_item(item))


async def delete(store: ProjectStore, call: Call) -> bytes:
    """`store_delete`: deletes an item. Arguments: namespace, key."""
    await _execute(store, PutOp(tuple(call.arguments["namespace"]), call.arguments["key"], None))
    return b"null"


async def search(store: ProjectStore, call: Call) -> bytes:
    """`store_search`: returns items with their scores.

    Arguments: namespace_prefix, filter, limit, offset, query, refresh_ttl.
    """
    args = call.arguments
    op = Search(
        tuple(args["namespace_prefix"]),
        filter=_parse_filter(args["filter"]),
        limit=args["limit"],
        offset=args["offset"],
        query=args["query"],
        refresh_ttl=_should_refresh(store, args["refresh_ttl"]),
    )
    items = await _execute(store, op)
    return encode({"items": [{**show_item(item), "score": item.score} for item in items]})


async def list_namespaces(store: ProjectStore, call: Call) -> bytes:
    """`store_namespaces`: returns namespaces. Arguments: prefix, suffix, max_depth, limit, offset."""
    args = call.arguments
    conditions = tuple(
        MatchCondition(match_type=kind, path=tuple(args[kind]))
        for kind in ("prefix", "suffix")
        if args[kind]
    )
    op = ListNamespacesOp(conditions or None, args["max_depth"], args["limit"], args["offset"])
    return encode({"namespaces": await _execute(store, op)})


def show_item(item: Item) -> dict[str, Any]:
    """Returns an `Item` in the API's form. Source: the reference server's responses."""
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at.isoformat(timespec="microseconds"),
        "updated_at": item.updated_at.isoformat(timespec="microseconds"),
    }


async def _execute(store: ProjectStore, op: Op) -> Any:
    """Executes one operation. Raises InvalidError if the store rejects it, UnavailableError if Redis does."""
    try:
        [result] = await store.execute_once([op])
    except (InvalidNamespaceError, ValueError, RecursionError) as error:
        raise InvalidError(str(error)) from error
    except WRITES_REJECTED as error:
        raise to_unavailable(error) from error
    return result


def _parse_filter(data: bytes) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(data)
    except RecursionError:
        raise InvalidError("filter: nested too deep") from None
    return parsed


def _parse_value(data: bytes) -> Any:
    """Returns the value. Raises InvalidError for a value that a response could not contain."""
    try:
        value = json.loads(data)
        orjson.dumps({"items": [{"value": value}]})
    except (RecursionError, orjson.JSONEncodeError):
        raise InvalidError("value: nested too deep") from None
    return value


def _should_refresh(store: ProjectStore, requested: bool | None) -> bool:
    if requested is not None or store.ttl_config is None:
        return requested is not False
    return store.ttl_config.get("refresh_on_read", True)
