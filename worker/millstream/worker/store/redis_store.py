"""The library's AsyncRedisStore, with Millstream's queries.

The library provides the interface, the index definitions and the embedding of texts. Its queries would be wrong:

- They put namespaces into full-text search, which ignores case, stems words, drops others, and knows no boundary
  between labels: `("users", "Ann")` equals `("users", "ann")`, and a search under `("use",)` matches `("users",)`.
- They filter a page after they have cut it off.
- They read ten items to list namespaces.
- They forget the time at which an item was created.

Millstream's queries find items by hashes (see `shared/store_items.py`), and filter before they cut off a page.

Only `lazy.py` imports this module, at the store's first use: the library is an extra.
"""

import asyncio
import json
import logging
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
from millstream.worker.client_errors import show_or
from millstream.worker.failure import summarise_error
from millstream.worker.store.embedding import embed
from millstream.worker.store.matching import matches, namespace_matches

log = logging.getLogger(__name__)

PAGES: Final = (1_000, 10_000, 100_000)  # candidates that a filter reads, page by page
MAX_TRIES: Final = 10  # of a set-up, which other workers may do at the same time
PAUSE: Final = 0.05  # s between two checks of an index that is being filled
JSON: Final = "json"  # the kind of a row whose value is plain JSON


class RedisStore(AsyncRedisStore):
    """Items in Redis under RediSearch indexes. Create it in the event loop that uses it.

    Args:
        index: the parts of items that are searchable by meaning; None without such a search.
        embeddings: computes the vectors of those parts.
        ttl: the TTL of items that are put without one.
    """

    def __init__(
        self,
        redis: Client,
        index: IndexSettings | None,
        embeddings: Embeddings | None,
        ttl: TTLConfig | None,
    ) -> None:
        """The caller closes `redis`."""
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
        """Creates missing indexes, and waits until they contain the existing items.

        Several workers may do it at the same time.
        """
        for remaining in reversed(range(MAX_TRIES)):
            try:
                await super().setup()
                break
            except RedisSearchError as error:
                if isinstance(error.__cause__, OUTAGE_ERRORS):
                    raise error.__cause__ from None
                # Another worker has created an index in the meantime: the next try finds it.
                if not remaining or "already exists" not in f"{error} {error.__cause__}".lower():
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
        """Executes the operations; creates the indexes again if Redis has lost them."""
        op_list = list(ops)
        try:
            return await super().abatch(op_list)
        except ResponseError as error:
            if "no such index" not in str(error).lower():
                raise
        await self.setup()
        return await super().abatch(op_list)

    async def _batch_get_ops(
        self, get_ops: Sequence[tuple[int, GetOp]], results: list[Result]
    ) -> None:
        for refresh in (False, True):
            group = [(i, op) for i, op in get_ops if bool(op.refresh_ttl) is refresh]
            names = [store_items.item_name(op.namespace, op.key) for _, op in group]
            documents = await get_items(self._client, names, refresh=refresh)
            for (i, _), name, document in zip(group, names, documents, strict=True):
                results[i] = None if document is None else Item(**self._read(name, document))

    async def _batch_put_ops(self, put_ops: Sequence[tuple[int, PutOp]]) -> None:
        last = {store_items.item_name(op.namespace, op.key): op for _, op in put_ops}
        if deleted := [name for name, op in last.items() if op.value is None]:
            await store_items.delete(self._client, deleted)
        stored = {name: op for name, op in last.items() if op.value is not None}
        vectors_by_item = await self._vectors_of(list(stored.values()))
        for (name, op), vectors in zip(stored.items(), vectors_by_item, strict=True):
            new = NewItem(
                name=name,
                namespace=store_items.encode_namespace(op.namespace),
                row=store_items.seal_row(self._client, name, self._row(op)),
                under=store_items.namespace_terms(op.namespace),
                vectors=vectors,
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
            prefix: list[str] = []  # the longest one that all matching namespaces have
            for condition in conditions:
                if condition.match_type == "prefix":
                    labels = list(condition.path)
                    if "*" in labels:
                        labels = labels[: labels.index("*")]
                    prefix = max(prefix, labels, key=len)
            namespaces = {
                namespace[: op.max_depth]
                for namespace in await store_items.list_namespaces(self._client, _term_of(prefix))
                if all(namespace_matches(namespace, c.match_type, c.path) for c in conditions)
            }
            results[i] = sorted(namespaces)[op.offset : op.offset + op.limit]

    async def _search(self, op: SearchOp) -> list[SearchItem]:
        if op.limit <= 0:
            return []
        vector = None
        if op.query and self._dims is not None:
            [vector] = await self._embed([op.query])
        return await (self._find_newest(op) if vector is None else self._find_nearest(op, vector))

    async def _find_newest(self, op: SearchOp) -> list[SearchItem]:
        term = _term_of(op.namespace_prefix)
        if not op.filter:
            names = await store_items.list_newest(
                self._client, term, limit=op.limit, offset=op.offset
            )
            return [item for _, item in await self._load(op, names, {})]
        seen: set[str] = set()
        matching: list[tuple[str, SearchItem]] = []
        page, start = 0, 0
        while len(matching) < op.offset + op.limit:
            size = PAGES[min(page, len(PAGES) - 1)]
            names = await store_items.list_newest(self._client, term, limit=size, offset=start)
            matching += await self._load(op, [name for name in names if name not in seen], {})
            if len(names) < size:
                break
            seen.update(names)
            page, start = page + 1, start + size
        return await self._cut_page(op, matching)

    async def _find_nearest(self, op: SearchOp, vector: list[float]) -> list[SearchItem]:
        term, count = _term_of(op.namespace_prefix), op.offset + op.limit
        if not op.filter:
            near = (await store_items.find_nearest(self._client, term, vector, limit=count))[
                op.offset :
            ]
            return [item for _, item in await self._load(op, [n for n, _ in near], dict(near))]
        size = max(count, PAGES[0])
        while True:
            near = await store_items.find_nearest(self._client, term, vector, limit=size)
            matching = await self._load(op, [name for name, _ in near], dict(near))
            if len(matching) >= count or len(near) < size or size >= store_items.MAX_RESULTS:
                return await self._cut_page(op, matching)
            size *= 10

    async def _cut_page(
        self, op: SearchOp, matching: list[tuple[str, SearchItem]]
    ) -> list[SearchItem]:
        """Returns the requested page. Refreshes the TTL of the items in it, and of no others."""
        page = matching[op.offset : op.offset + op.limit]
        if op.filter and op.refresh_ttl:
            await get_items(self._client, [name for name, _ in page], refresh=True)
        return [item for _, item in page]

    async def _load(
        self, op: SearchOp, names: list[str], scores: dict[str, float]
    ) -> list[tuple[str, SearchItem]]:
        """Returns the items that still exist and match the filter."""
        refresh = bool(op.refresh_ttl) and not op.filter
        documents = await get_items(self._client, names, refresh=refresh)
        matching = []
        for name, document in zip(names, documents, strict=True):
            if document is None:
                continue
            fields = self._read(name, document)
            if matches(fields["value"], op.filter):
                matching.append((name, SearchItem(**fields, score=scores.get(name))))
        return matching

    def _row(self, op: PutOp) -> str:
        """Returns the stored form of an item. Its value is JSON, or LangGraph's serialisation if JSON can't hold it."""
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

    def _read(self, name: str, document: bytes) -> dict[str, Any]:
        [item] = json.loads(document)
        row = store_items.open_row(self._client, name, item["row"])
        namespace, key, kind, value = json.loads(row)
        if kind != JSON:
            value = self._types.loads_typed((kind, bytes.fromhex(value)))
        return {
            "namespace": tuple(namespace),
            "key": key,
            "value": value,
            "created_at": _read_time(item["created_at"]),
            "updated_at": _read_time(item["updated_at"]),
        }

    async def _vectors_of(self, ops: list[PutOp]) -> list[list[list[float]]]:
        """Returns the vectors of each item, in the order of the items."""
        texts_by_item = [self._texts(op) for op in ops]
        vectors = iter(await self._embed([text for texts in texts_by_item for text in texts]))
        return [
            [vector for vector in [next(vectors) for _ in texts] if vector is not None]
            for texts in texts_by_item
        ]

    def _texts(self, op: PutOp) -> list[str]:
        if self._dims is None or op.index is False:
            return []
        config: Any = self.index_config
        paths: list[Any] = [path for _, path in config["__tokenized_fields"]]
        if op.index is not None:
            paths = [path if path == "$" else tokenize_path(path) for path in op.index]
        texts = [text for path in paths for text in get_text_at_path(dict(op.value or {}), path)]
        return list(dict.fromkeys(text for text in texts if text.strip()))

    async def _embed(self, texts: list[str]) -> list[list[float] | None]:
        """Returns the vectors of the texts; None for a zero vector, which has no direction.

        Raises UnavailableError if the embeddings fail or don't fit the index: RediSearch would
        leave the item out without an error.
        """
        if not texts or self.embeddings is None:
            return []
        try:
            vectors = [
                [float(number) for number in vector]
                for vector in await embed(self.embeddings, texts)
            ]
        except Exception as error:
            log.warning("the embeddings of langgraph.json failed: %s", summarise_error(error))
            failure = "The embeddings of langgraph.json failed"
            text = f"{failure}: {type(error).__name__}: {error}"
            raise UnavailableError(show_or(text, masked=f"{failure}.")) from error
        if len(vectors) != len(texts):
            raise UnavailableError(
                f"The embeddings of langgraph.json gave {len(vectors)} vectors for "
                f"{len(texts)} texts."
            )
        for vector in vectors:
            if len(vector) != self._dims or not all(map(math.isfinite, vector)):
                raise UnavailableError(
                    f"The embeddings of langgraph.json gave {len(vector)} numbers, but "
                    f"store.index.dims requires {self._dims} finite ones."
                )
        return [vector if any(vector) else None for vector in vectors]


def _search_index(redis: Client, name: str, fields: list[dict[str, Any]]) -> AsyncSearchIndex:
    prefix = keys.item("")
    index = {"name": name, "prefix": prefix, "storage_type": "json"}
    return AsyncSearchIndex.from_dict({"index": index, "fields": fields}, redis_client=redis)


def _term_of(namespace: Sequence[str]) -> str | None:
    return store_items.namespace_term(namespace) if namespace else None


def _read_time(micros: int) -> datetime:
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
