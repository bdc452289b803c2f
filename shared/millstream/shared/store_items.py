"""The items of the long-term store in Redis: their names, and searches for them.

An item's name is a hash of its namespace and key. Searches use terms, which are hashes of namespaces. So no text of a
user is ever part of a query.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from millstream.shared import keys, permissions
from millstream.shared.redis import Client
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.locations import of_item

SEARCH_TIMEOUT_MS: Final = 8_000  # the default, 500, drops results without an error
MAX_RESULTS: Final = 1_000_000  # of one search

NO_MODULES: Final = (
    "The store needs a Redis with RediSearch and RedisJSON, and this one has {what}. "
    "Redis 8 and Redis Stack have both; runs, threads and graphs that don't use the store "
    "need neither."
)
MODULES: Final = {"FT": "RediSearch", "JSON": "RedisJSON"}
# The commands that the store uses, with arguments that change nothing and find nothing.
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "FT._LIST": (),
    "FT.INFO": (keys.trial("store"),),
    "FT.CREATE": (keys.trial("store"), "without a schema"),
    "FT.SEARCH": (keys.trial("store"), "*"),
    "FT.AGGREGATE": (keys.trial("store"), "*"),
    "JSON.TYPE": (keys.trial("store"),),
    "JSON.GET": (keys.trial("store"),),
    "JSON.SET": (keys.trial("store"), "$.of.nothing", "1"),
}
FORBIDDEN: Final = (
    "The store can't be used: the Redis user {user!r} may not use {commands}. "
    "This allows it: ACL SETUSER {user} {rules}"
)
NOT_FIRST: Final = (
    "The store needs database 0 of Redis, and REDIS_URL names database {database}: "
    "RediSearch indexes no other database."
)


def item_name(namespace: Sequence[str], key: str) -> str:
    """Returns the item's name, from which `keys.item` builds its key."""
    return _hash([list(namespace), key])


def namespace_term(namespace: Sequence[str]) -> str:
    """Returns the term of all items in the namespace and below it."""
    return _hash(list(namespace))


def namespace_terms(namespace: Sequence[str]) -> list[str]:
    """Returns the terms of an item in the namespace: of the namespace and of those above it."""
    return [namespace_term(namespace[:depth]) for depth in range(1, len(namespace) + 1)]


def encode_namespace(namespace: Sequence[str]) -> str:
    """Returns the namespace as hexadecimal JSON, because a search index folds the case of plain text."""
    return json.dumps(list(namespace)).encode().hex()


def seal_row(redis: Client, name: str, row: str) -> str:
    """Returns the row of an item as its document has it."""
    key_ring = key_ring_of(redis)
    if not key_ring.is_sealing:
        return row
    return base64.b64encode(key_ring.seal(of_item(name), row.encode())).decode()


def open_row(redis: Client, name: str, stored: str) -> str:
    """Returns the row of an item, which is a JSON list; raises SealedError."""
    if stored.startswith("["):
        return stored
    return key_ring_of(redis).open(of_item(name), base64.b64decode(stored)).decode()


async def find_obstacle(redis: Client) -> str | None:
    """Returns the reason why this Redis can't hold the store, as a message; None if it can."""
    missing, forbidden = [], []
    for name, arguments in COMMANDS.items():
        try:
            await redis.execute_command(name, *arguments)  # type: ignore[no-untyped-call]
        except NoPermissionError:
            forbidden.append(name)
        except ResponseError as error:
            if "unknown command" in str(error).lower():
                missing.append(name.partition(".")[0])
    if missing:
        modules = sorted({MODULES[name] for name in missing})
        return NO_MODULES.format(what="neither" if len(modules) == 2 else f"no {modules[0]}")
    if forbidden:
        return FORBIDDEN.format(
            user=permissions.user_of(redis),
            commands=", ".join(forbidden),
            rules=" ".join(f"+{name.lower()}" for name in forbidden),
        )
    database = redis.connection_pool.connection_kwargs.get("db") or 0
    return NOT_FIRST.format(database=database) if database else None


async def is_indexing(redis: Client, index: str) -> bool:
    """Returns whether the index still lacks items that are older than itself."""
    reply = await redis.execute_command("FT.INFO", index)  # type: ignore[no-untyped-call]
    info = dict(zip(reply[::2], reply[1::2], strict=True))
    return int(info.get(b"indexing", 0)) == 1


async def delete(redis: Client, names: Sequence[str]) -> None:
    """Deletes the items that exist."""
    await redis.unlink(*map(keys.item, names))


async def list_newest(redis: Client, term: str | None, *, limit: int, offset: int) -> list[str]:
    """Returns the names of items, the latest update first.

    Args:
        term: `namespace_term` of the namespace to search, with those below it; None for all.
    """
    if offset + limit > MAX_RESULTS:
        limit = max(0, MAX_RESULTS - offset)
    if not limit:
        return []
    results = await _search(
        redis, keys.items_index(), _filter(term),
        "NOCONTENT", "SORTBY", "updated_at", "DESC", "LIMIT", offset, limit,
    )  # fmt: skip
    return [_name(key) for key in results[1:]]


async def find_nearest(
    redis: Client, term: str | None, vector: Sequence[float], *, limit: int
) -> list[tuple[str, float]]:
    """Returns the names of the items nearest to a vector, each with its cosine similarity.

    For an item with several embeddings the nearest one counts.
    """
    limit = min(limit, MAX_RESULTS)
    results = await _search(
        redis, keys.vectors_index(len(vector)),
        f"({_filter(term)})=>[KNN {limit} @embedding $vector AS distance]",
        "PARAMS", 2, "vector", struct.pack(f"<{len(vector)}f", *vector),
        "SORTBY", "distance", "ASC", "RETURN", 1, "distance", "LIMIT", 0, limit,
    )  # fmt: skip
    return [
        (_name(key), 1.0 - float(fields[1]))
        for key, fields in zip(results[1::2], results[2::2], strict=True)
    ]


async def list_namespaces(redis: Client, term: str | None) -> list[tuple[str, ...]]:
    """Returns the namespaces with items, each once and unsorted; `term` limits them to one and those below it."""
    groups = await redis.execute_command(  # type: ignore[no-untyped-call]
        "FT.AGGREGATE", keys.items_index(), _filter(term), "GROUPBY", 1, "@namespace",
        "LIMIT", 0, MAX_RESULTS, "TIMEOUT", SEARCH_TIMEOUT_MS, "DIALECT", 2,
    )  # fmt: skip
    return [tuple(json.loads(bytes.fromhex(group[1].decode()))) for group in groups[1:]]


async def _search(redis: Client, index: str, query: str, *arguments: Any) -> list[Any]:
    results: list[Any] = await redis.execute_command(  # type: ignore[no-untyped-call]
        "FT.SEARCH", index, query, *arguments, "TIMEOUT", SEARCH_TIMEOUT_MS, "DIALECT", 2
    )
    return results


def _filter(term: str | None) -> str:
    return "*" if term is None else f"@under:{{{term}}}"


def _name(key: bytes) -> str:
    return key.decode().rpartition(":")[2]


def _hash(value: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
