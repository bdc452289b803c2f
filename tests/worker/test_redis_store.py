"""The store in Redis: its setup, loss of data, errors, and its agreement with LangGraph's in-memory store."""

import asyncio
import importlib.util
import random
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp, ensure_embeddings
from langgraph.store.memory import InMemoryStore

from harness.redis_modules import require_modules
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, store_items
from millstream.shared.errors import UnavailableError
from millstream.shared.langgraph_json.config import IndexSettings, StoreSettings, TTLSettings
from millstream.shared.redis import UNAVAILABLE, Client, connect
from millstream.worker.store.lazy import ProjectStore, StoreUnavailableError


def counted(texts: Sequence[str]) -> list[list[float]]:
    return [[float(text.count(letter)) for letter in "abc"] for text in texts]


EMBEDDINGS: Embeddings = ensure_embeddings(counted)
SETTINGS = StoreSettings(index=IndexSettings(embed="counted", dims=3, fields=["text"]))


@pytest.fixture
async def own_redis(store_server: EmbeddedRedis) -> AsyncIterator[Client]:
    """A client on database 0, the only searchable one, of a server for this file."""
    client = connect(store_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def store(own_redis: Client) -> AsyncIterator[ProjectStore]:
    store = ProjectStore(SETTINGS, embeddings=EMBEDDINGS)
    store.connect(own_redis)
    yield store
    await store.aclose()


async def test_many_workers_open_the_store_at_once(own_redis: Client) -> None:
    stores = [ProjectStore(SETTINGS, embeddings=EMBEDDINGS) for _ in range(8)]
    for store in stores:
        store.connect(own_redis)
    await asyncio.gather(*(store.warm_up() for store in stores))
    await stores[0].aput(("a",), "k", {"text": "a"})
    for store in stores:
        assert len(await store.asearch(("a",), query="a")) == 1
        await store.aclose()


async def test_a_search_refreshes_the_ttl_of_its_page_only(
    own_redis: Client,
) -> None:
    settings = StoreSettings(index=SETTINGS.index, ttl=TTLSettings(default_ttl=10))
    store = ProjectStore(settings, embeddings=EMBEDDINGS)
    store.connect(own_redis)
    for key, text in (("x", "aaa"), ("y", "aab"), ("z", "abb")):
        await store.aput(("a",), key, {"text": text})
    names = {key: keys.item(store_items.item_name(("a",), key)) for key in "xyz"}
    for name in names.values():
        await own_redis.pexpire(name, 60_000)
    matches = await store.asearch(("a",), query="a", offset=1, limit=1)
    assert [item.key for item in matches] == ["y"]
    left = {key: await own_redis.pttl(name) > 60_000 for key, name in names.items()}
    assert left == {"x": False, "y": True, "z": False}
    await store.aclose()


async def test_the_store_recovers_after_redis_lost_all_data(
    store: ProjectStore, own_redis: Client
) -> None:
    await store.aput(("a",), "k", {"text": "a"})
    await own_redis.flushall()
    assert await store.asearch(("a",)) == []
    await own_redis.flushall()
    assert await store.alist_namespaces() == []
    await own_redis.flushall()
    await store.aput(("a",), "k", {"text": "a"})
    assert len(await store.asearch(("a",), query="a")) == 1


async def test_a_put_waits_during_a_redis_outage(tmp_path: Path) -> None:
    require_modules()
    with EmbeddedRedis(tmp_path / "away", appendonly=False) as server:
        redis = connect(server.url)
        store = ProjectStore()
        store.connect(redis)
        await store.aput(("a",), "before", {})
        await asyncio.to_thread(server.kill)
        with pytest.raises(UNAVAILABLE):  # an HTTP client gets an error
            await store.execute_once([PutOp(("a",), "k", {"x": 1})])
        waiting = asyncio.create_task(store.aput(("a",), "k", {"x": 1}))
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(30):
            await waiting
        matches = await store.asearch(("a",))  # in the restored index
        assert [item.key for item in matches] == ["k"]
        await store.aclose()
        await redis.aclose()


async def test_a_new_index_covers_existing_items(store: ProjectStore, own_redis: Client) -> None:
    plain = ProjectStore()
    plain.connect(own_redis)
    for n in range(300):
        await plain.aput(("a",), str(n), {"text": "a"})
    await store.aput(("a",), "new", {"text": "a"})
    assert len(await store.asearch(("a",), limit=1000)) == 301
    # An item stored without embeddings has none: a search by meaning does not find it.
    assert [item.key for item in await store.asearch(("a",), query="a")] == ["new"]
    await plain.aclose()


async def test_values_keep_their_types(store: ProjectStore) -> None:
    value: dict[str, Any] = {
        "decimal": Decimal("1.5"), "delta": timedelta(seconds=3), "set": {1, 2}, "bytes": b"\xff",
    }  # fmt: skip
    await store.aput(("a",), "k", value, index=False)
    matches = await store.aget(("a",), "k")
    assert matches is not None
    assert matches.value == value
    assert [item.key for item in await store.asearch(("a",), filter={"bytes": b"\xff"})] == ["k"]


async def test_a_batch_executes_all_operations(store: ProjectStore) -> None:
    await store.abatch([PutOp(("a",), "k", {"n": n}) for n in range(3)])
    matches = await store.aget(("a",), "k")
    assert matches is not None
    assert matches.value == {"n": 2}
    assert await store.asearch(("a",), limit=0) == []


async def test_a_sync_call_in_the_event_loop_is_rejected(store: ProjectStore) -> None:
    with pytest.raises(asyncio.InvalidStateError, match="async methods"):
        store.get(("a",), "k")
    assert await asyncio.to_thread(store.get, ("a",), "k") is None


async def test_nodes_in_all_threads_may_use_the_store(store: ProjectStore) -> None:
    with ThreadPoolExecutor(1) as threads:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(threads)
        async with asyncio.timeout(30):
            await asyncio.to_thread(store.put, ("a",), "k", {"text": "a"})
            assert len(await asyncio.to_thread(store.search, ("a",), query="a")) == 1


async def test_vectors_of_a_wrong_size_are_rejected(own_redis: Client) -> None:
    settings = StoreSettings(index=IndexSettings(embed="counted", dims=4))
    store = ProjectStore(settings, embeddings=EMBEDDINGS)
    store.connect(own_redis)
    with pytest.raises(UnavailableError, match=r"gave 3 numbers, but store\.index\.dims"):
        await store.aput(("a",), "k", {"text": "a"})
    assert await store.aget(("a",), "k") is None
    await store.aclose()


async def test_other_databases_and_missing_packages_are_rejected(
    store_server: EmbeddedRedis, own_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = connect(store_server.url.rpartition("/")[0] + "/1")
    store = ProjectStore()
    store.connect(other)
    with pytest.raises(StoreUnavailableError, match="names database 1"):
        await store.aget(("a",), "k")
    await other.aclose()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    store.connect(own_redis)
    with pytest.raises(StoreUnavailableError, match=r'pip install "millstream\[store\]"'):
        await store.aget(("a",), "k")
    monkeypatch.undo()
    assert await store.aget(("a",), "k") is None  # used once it is installed
    await store.aclose()


async def test_missing_redis_modules_are_reported(bare_redis: Client) -> None:
    store = ProjectStore(StoreSettings())
    store.connect(bare_redis)
    await store.warm_up()  # only logs it
    for call in (store.aget(("a",), "k"), store.aput(("a",), "k", {}), store.asearch(("a",))):
        with pytest.raises(StoreUnavailableError, match="RediSearch and RedisJSON"):
            await call


@pytest.mark.parametrize("seed", range(3))
async def test_the_store_agrees_with_langgraphs_in_memory_store(
    store: ProjectStore, seed: int
) -> None:
    dice = random.Random(seed)
    memory = InMemoryStore()
    namespaces = [("a",), ("a", "B"), ("a", "b"), ("ab",), ("a", "b", "the"), ("*",)]
    for _ in range(60):
        namespace, key = dice.choice(namespaces), dice.choice("xyz")
        if dice.random() < 0.2:
            await store.adelete(namespace, key)
            memory.delete(namespace, key)
        else:
            value = {"n": dice.randrange(3), "text": dice.choice(["", "abc"])}
            await store.aput(namespace, key, value)
            memory.put(namespace, key, value)
    for namespace in [(), *namespaces]:
        for filter_value in (None, {"n": 1}, {"n": {"$gte": 1}}, {"text": ""}):
            ours = await store.asearch(namespace, filter=filter_value, limit=100)
            theirs = memory.search(namespace, filter=filter_value, limit=100)
            assert {(i.namespace, i.key, i.value["n"]) for i in ours} == {
                (i.namespace, i.key, i.value["n"]) for i in theirs
            }
    stored = {i.namespace for i in memory.search((), limit=1000)}  # it lists empty namespaces too
    for depth in (None, 1, 2):
        expected = sorted({namespace[:depth] for namespace in stored if namespace[0] == "a"})
        assert await store.alist_namespaces(prefix=("a",), max_depth=depth) == expected
