"""The items of the long-term store in Redis: where they are, and how they are found.

An item is found by its name, which its namespace and key are hashed to; others are found by the
hashes of the namespaces that they lie in. So no text of a user's ever is part of a query.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from millstream.shared import keys, permissions
from millstream.shared.redis import Client

TIMEOUT: Final = 8_000  # ms that a search may take: the default, 500, cuts results off silently
MAX_RESULTS: Final = 1_000_000  # results that a search can give

NO_MODULES: Final = (
    "The store needs a Redis with RediSearch and RedisJSON, and this one has {what}. "
    "Redis 8 and Redis Stack have both; runs, threads and graphs that don't use the store "
    "need neither."
)
MODULES: Final = {"FT": "RediSearch", "JSON": "RedisJSON"}
# What the store uses, with words that change nothing and find nothing.
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
    "RediSearch indexes no other."
)


def item_name(namespace: Sequence[str], key: str) -> str:
    """Returns the name of the item, by which its key in Redis is called."""
    return _hash([list(namespace), key])


def namespace_term(namespace: Sequence[str]) -> str:
    """Returns the word that all items in the namespace, and below it, are indexed by."""
    return _hash(list(namespace))


def namespace_terms(namespace: Sequence[str]) -> list[str]:
    """Returns the words that an item in the namespace is indexed by."""
    return [namespace_term(namespace[:depth]) for depth in range(1, len(namespace) + 1)]


def encode_namespace(namespace: Sequence[str]) -> str:
    """Returns the namespace as hex digits of JSON: a search index folds the case of other texts."""
    return json.dumps(list(namespace)).encode().hex()


async def find_obstacle(redis: Client) -> str | None:
    """Returns why this Redis can hold no store, in a sentence or two; None if it can."""
    missing, forbidden = [], []
    for name, words in COMMANDS.items():
        try:
            await redis.execute_command(name, *words)  # type: ignore[no-untyped-call]
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
    """Returns whether items that were there before the index are still being entered into it."""
    told = await redis.execute_command("FT.INFO", index)  # type: ignore[no-untyped-call]
    info = dict(zip(told[::2], told[1::2], strict=True))
    return int(info.get(b"indexing", 0)) == 1


async def delete(redis: Client, names: Sequence[str]) -> None:
    """Deletes the items; those that are not there are none the worse."""
    await redis.unlink(*map(keys.item, names))


async def list_newest(redis: Client, place: str | None, *, limit: int, offset: int) -> list[str]:
    """Returns the names of items, those that were updated last first.

    Args:
        place: where they lie, from `namespace_term`; None for anywhere.
    """
    if offset + limit > MAX_RESULTS:
        limit = max(0, MAX_RESULTS - offset)
    if not limit:
        return []
    found = await _search(
        redis, keys.items_index(), _where(place),
        "NOCONTENT", "SORTBY", "updated_at", "DESC", "LIMIT", offset, limit,
    )  # fmt: skip
    return [_name(key) for key in found[1:]]


async def find_nearest(
    redis: Client, place: str | None, vector: Sequence[float], *, limit: int
) -> list[tuple[str, float]]:
    """Returns the names of the items nearest to a vector, and how near: 1 is the same direction.

    An item with several embeddings counts by the nearest.
    """
    limit = min(limit, MAX_RESULTS)
    found = await _search(
        redis, keys.vectors_index(len(vector)),
        f"({_where(place)})=>[KNN {limit} @embedding $vector AS distance]",
        "PARAMS", 2, "vector", struct.pack(f"<{len(vector)}f", *vector),
        "SORTBY", "distance", "ASC", "RETURN", 1, "distance", "LIMIT", 0, limit,
    )  # fmt: skip
    return [
        (_name(key), 1.0 - float(fields[1]))
        for key, fields in zip(found[1::2], found[2::2], strict=True)
    ]


async def list_namespaces(redis: Client, place: str | None) -> list[tuple[str, ...]]:
    """Returns the namespaces at the place and below it that have items, each once, unsorted."""
    groups = await redis.execute_command(  # type: ignore[no-untyped-call]
        "FT.AGGREGATE", keys.items_index(), _where(place), "GROUPBY", 1, "@namespace",
        "LIMIT", 0, MAX_RESULTS, "TIMEOUT", TIMEOUT, "DIALECT", 2,
    )  # fmt: skip
    return [tuple(json.loads(bytes.fromhex(group[1].decode()))) for group in groups[1:]]


async def _search(redis: Client, index: str, query: str, *words: Any) -> list[Any]:
    found: list[Any] = await redis.execute_command(  # type: ignore[no-untyped-call]
        "FT.SEARCH", index, query, *words, "TIMEOUT", TIMEOUT, "DIALECT", 2
    )
    return found


def _where(place: str | None) -> str:
    return "*" if place is None else f"@under:{{{place}}}"


def _name(key: bytes) -> str:
    return key.decode().rpartition(":")[2]


def _hash(value: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
