"""The library's AsyncRedisStore, with queries of our own.

What the library brings is the interface, the index definitions, and the embedding of texts. Its own
queries put namespaces into full-text search, which folds case, stems words, drops others, and knows
no boundary between labels: `("users", "Ann")` and `("users", "ann")` are one namespace to it, and a
search under `("use",)` finds what is under `("users",)`. It filters a page after it was cut off, looks
at ten items to list namespaces, and forgets when an item was made. Here items are found by hashes (see
`shared/store_items.py`), and filters are applied before pages are.

Only `lazy.py` imports this module, when a store is first used: the library is an extra.
"""

import asyncio
import json
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from langchain_core.embeddings import Embeddings
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    get_text_at_path,
    tokenize_path,
)
from langgraph.store.redis.aio import AsyncRedisStore
from redis.exceptions import ResponseError
from redisvl.exceptions import RedisSearchError
from redisvl.index import AsyncSearchIndex

from millstream.shared import keys, store_items
from millstream.shared.errors import UnavailableError
from millstream.shared.langgraph_json.config import IndexSettings
from millstream.shared.redis import OUTAGE_ERRORS, Client
from millstream.shared.scripts import NewItem, get_items, put_item
from millstream.worker.checkpoints.unstorable import unstorable_item_error
from millstream.worker.store.embedding import embed
from millstream.worker.store.matching import matches, namespace_matches

PAGES: Final = (1_000, 10_000, 100_000)  # candidates that a filter looks at, page by page
TRIES: Final = 10  # of a set-up that others are at too
PAUSE: Final = 0.05  # s between looks at an index that is being filled
JSON: Final = "json"  # the kind of a row whose value is plain JSON


class RedisStore(AsyncRedisStore):
    """Items in Redis under RediSearch indexes; must be made in the event loop that uses it.

    Args:
        index: which parts of items are searchable by meaning; None for none.
        embeddings: what makes vectors of them.
        ttl: how long items live that are put without a TTL.
    """

    def __init__(
        self,
        redis: Client,
        index: IndexSettings | None,
        embeddings: Embeddings | None,
        ttl: TTLConfig | None,
    ) -> None:
        """`redis` is closed by the caller."""
        config: Any = None
        if index is not None:
            config = {"dims": index.dims, "embed": embeddings, "fields": list(index.fields)}
        super().__init__(redis_client=redis, index=config, ttl=ttl, cluster_mode=False)
        self._client = redis
        self._dims = None if index is None else index.dims
        self._types = JsonPlusSerializer()
        self.store_index = _search_index(
            redis,
            keys.items_index(),
            [
                {"name": "under", "type": "tag", "path": "$.under[*]"},
                {
                    "name": "namespace", "type": "tag", "path": "$.item.namespace",
                    "attrs": {"sortable": True},
                },
                {
                    "name": "updated_at", "type": "numeric", "path": "$.item.updated_at",
                    "attrs": {"sortable": True},
                },
            ],
        )  # fmt: skip
        if self._dims is not None:
            self.vector_index = _search_index(
                redis,
                keys.vectors_index(self._dims),
                [
                    {"name": "under", "type": "tag", "path": "$.under[*]"},
                    {
                        "name": "embedding", "type": "vector", "path": "$.vectors[*]",
                        "attrs": {
                            "algorithm": "flat", "datatype": "float32", "dims": self._dims,
                            "distance_metric": "COSINE",
                        },
                    },
                ],
            )  # fmt: skip

    async def setup(self) -> None:
        """Makes the indexes that are not there, and waits until they hold what there was before.

        Several workers may do it at the same time.
        """
        for left in reversed(range(TRIES)):
            try:
                await super().setup()
                break
            except RedisSearchError as error:
                if isinstance(error.__cause__, OUTAGE_ERRORS):
                    raise error.__cause__ from None
                # Another worker was quicker with one index: the next try finds it there.
                if not left or "already exists" not in f"{error} {error.__cause__}".lower():
                    raise
        names = [keys.items_index()]
        if self._dims is not None:
            names.append(keys.vectors_index(self._dims))
        while names:
            if await store_items.is_indexing(self._client, names[-1]):
                await asyncio.sleep(PAUSE)
            else:
                names.pop()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Executes the operations; makes the indexes again if Redis has lost them."""
        listed = list(ops)
        try:
            return await super().abatch(listed)
        except ResponseError as error:
            if "no such index" not in str(error).lower():
                raise
        await self.setup()
        return await super().abatch(listed)

    async def _batch_get_ops(
        self, get_ops: Sequence[tuple[int, GetOp]], results: list[Result]
    ) -> None:
        for refresh in (False, True):
            asked = [(i, op) for i, op in get_ops if bool(op.refresh_ttl) is refresh]
            names = [store_items.item_name(op.namespace, op.key) for _, op in asked]
            found = await get_items(self._client, names, refresh=refresh)
            for (i, _), document in zip(asked, found, strict=True):
                results[i] = None if document is None else Item(**self._read(document))

    async def _batch_put_ops(self, put_ops: Sequence[tuple[int, PutOp]]) -> None:
        last = {store_items.item_name(op.namespace, op.key): op for _, op in put_ops}
        if gone := [name for name, op in last.items() if op.value is None]:
            await store_items.delete(self._client, gone)
        kept = {name: op for name, op in last.items() if op.value is not None}
        vectors = await self._vectors_of(list(kept.values()))
        for (name, op), own in zip(kept.items(), vectors, strict=True):
            new = NewItem(
                name=name,
                namespace=store_items.encode_namespace(op.namespace),
                row=self._row(op),
                under=store_items.namespace_terms(op.namespace),
                vectors=own,
                ttl=None if op.ttl is None else op.ttl * 60,
            )
            await put_item(self._client, new)

    async def _batch_search_ops(
        self, search_ops: Sequence[tuple[int, SearchOp]], results: list[Result]
    ) -> None:
        for i, op in search_ops:
            results[i] = await self._search(op)

    async def _batch_list_namespaces_ops(
        self, list_ops: Sequence[tuple[int, ListNamespacesOp]], results: list[Result]
    ) -> None:
        for i, op in list_ops:
            conditions = op.match_conditions or ()
            fixed: list[str] = []  # the longest beginning that all of them have
            for condition in conditions:
                if condition.match_type == "prefix":
                    labels = list(condition.path)
                    if "*" in labels:
                        labels = labels[: labels.index("*")]
                    fixed = max(fixed, labels, key=len)
            found = {
                namespace[: op.max_depth]
                for namespace in await store_items.list_namespaces(self._client, _place(fixed))
                if all(namespace_matches(namespace, c.match_type, c.path) for c in conditions)
            }
            results[i] = sorted(found)[op.offset : op.offset + op.limit]

    async def _search(self, op: SearchOp) -> list[SearchItem]:
        if op.limit <= 0:
            return []
        vector = None
        if op.query and self._dims is not None:
            [vector] = await self._embed([op.query])
        return await (self._newest(op) if vector is None else self._nearest(op, vector))

    async def _newest(self, op: SearchOp) -> list[SearchItem]:
        place = _place(op.namespace_prefix)
        if not op.filter:
            names = await store_items.list_newest(
                self._client, place, limit=op.limit, offset=op.offset
            )
            return [item for _, item in await self._load(op, names, {})]
        seen: set[str] = set()
        kept: list[tuple[str, SearchItem]] = []
        page, start = 0, 0
        while len(kept) < op.offset + op.limit:
            size = PAGES[min(page, len(PAGES) - 1)]
            names = await store_items.list_newest(self._client, place, limit=size, offset=start)
            kept += await self._load(op, [name for name in names if name not in seen], {})
            if len(names) < size:
                break
            seen.update(names)
            page, start = page + 1, start + size
        return await self._page(op, kept)

    async def _nearest(self, op: SearchOp, vector: list[float]) -> list[SearchItem]:
        place, count = _place(op.namespace_prefix), op.offset + op.limit
        if not op.filter:
            near = (await store_items.find_nearest(self._client, place, vector, limit=count))[
                op.offset :
            ]
            return [item for _, item in await self._load(op, [n for n, _ in near], dict(near))]
        size = max(count, PAGES[0])
        while True:
            near = await store_items.find_nearest(self._client, place, vector, limit=size)
            kept = await self._load(op, [name for name, _ in near], dict(near))
            if len(kept) >= count or len(near) < size or size >= store_items.MAX_RESULTS:
                return await self._page(op, kept)
            size *= 10

    async def _page(self, op: SearchOp, kept: list[tuple[str, SearchItem]]) -> list[SearchItem]:
        """Returns the part that was asked for; refreshes what it holds, and nothing else."""
        part = kept[op.offset : op.offset + op.limit]
        if op.filter and op.refresh_ttl:
            await get_items(self._client, [name for name, _ in part], refresh=True)
        return [item for _, item in part]

    async def _load(
        self, op: SearchOp, names: list[str], scores: dict[str, float]
    ) -> list[tuple[str, SearchItem]]:
        """Returns those of the items that are still there and pass the filter."""
        refresh = bool(op.refresh_ttl) and not op.filter
        found = await get_items(self._client, names, refresh=refresh)
        kept = []
        for name, document in zip(names, found, strict=True):
            if document is None:
                continue
            read = self._read(document)
            if matches(read["value"], op.filter):
                kept.append((name, SearchItem(**read, score=scores.get(name))))
        return kept

    def _row(self, op: PutOp) -> str:
        """Returns what is kept of the item: its value as JSON, or as its types' serializer has it."""
        value: Any = dict(op.value or {})
        try:
            return json.dumps([list(op.namespace), op.key, JSON, value])
        except (TypeError, ValueError):
            dump = self._types.dumps_typed
            try:
                kind, data = dump(value)
            except Exception as reason:  # noqa: BLE001 - of a user's object, anything
                raise unstorable_item_error(op.namespace, op.key, value, reason, dump) from None
            return json.dumps([list(op.namespace), op.key, kind, data.hex()])

    def _read(self, document: bytes) -> dict[str, Any]:
        [item] = json.loads(document)
        namespace, key, kind, value = json.loads(item["row"])
        if kind != JSON:
            value = self._types.loads_typed((kind, bytes.fromhex(value)))
        return {
            "namespace": tuple(namespace),
            "key": key,
            "value": value,
            "created_at": _time(item["created_at"]),
            "updated_at": _time(item["updated_at"]),
        }

    async def _vectors_of(self, ops: list[PutOp]) -> list[list[list[float]]]:
        """Returns the embeddings of each item, in the order of the items."""
        texts = [self._texts(op) for op in ops]
        flat = await self._embed([text for own in texts for text in own])
        vectors = iter(flat)
        return [[v for v in [next(vectors) for _ in own] if v is not None] for own in texts]

    def _texts(self, op: PutOp) -> list[str]:
        if self._dims is None or op.index is False:
            return []
        config: Any = self.index_config
        paths: list[Any] = [path for _, path in config["__tokenized_fields"]]
        if op.index is not None:
            paths = [path if path == "$" else tokenize_path(path) for path in op.index]
        found = [text for path in paths for text in get_text_at_path(dict(op.value or {}), path)]
        return list(dict.fromkeys(text for text in found if text.strip()))

    async def _embed(self, texts: list[str]) -> list[list[float] | None]:
        """Returns the vectors of the texts; None for one without a direction.

        Raises UnavailableError if the embeddings fail or don't fit the index: RediSearch would
        leave such an item out without a word.
        """
        if not texts or self.embeddings is None:
            return []
        try:
            vectors = [
                [float(number) for number in vector]
                for vector in await embed(self.embeddings, texts)
            ]
        except Exception as error:
            raise UnavailableError(
                f"The embeddings of langgraph.json failed: {type(error).__name__}: {error}"
            ) from error
        if len(vectors) != len(texts):
            raise UnavailableError(
                f"The embeddings of langgraph.json gave {len(vectors)} vectors for "
                f"{len(texts)} texts."
            )
        for vector in vectors:
            if len(vector) != self._dims or not all(map(math.isfinite, vector)):
                raise UnavailableError(
                    f"The embeddings of langgraph.json gave {len(vector)} numbers, where "
                    f"store.index.dims promises {self._dims} finite ones."
                )
        return [vector if any(vector) else None for vector in vectors]


def _search_index(redis: Client, name: str, fields: list[dict[str, Any]]) -> AsyncSearchIndex:
    prefix = keys.item("")
    index = {"name": name, "prefix": prefix, "storage_type": "json"}
    return AsyncSearchIndex.from_dict({"index": index, "fields": fields}, redis_client=redis)


def _place(namespace: Sequence[str]) -> str | None:
    return store_items.namespace_term(namespace) if namespace else None


def _time(micros: int) -> datetime:
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
