"""`store` of langgraph.json: every valid form, and a plain error for each mistake."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from millstream.shared.errors import SettingError, UnavailableError
from millstream.shared.redis import Client
from millstream.worker.graphs import load
from millstream.worker.store.lazy import ProjectStore

CODE = """
import contextlib
from langchain_core.embeddings import Embeddings
from langgraph.graph import END, START, StateGraph
from langgraph.store.memory import InMemoryStore

graph = StateGraph(dict)
graph.add_node("node", lambda state: {})
graph.add_edge(START, "node")


def embed(texts):
    return [[1.0, 2.0] for _ in texts]


class Two(Embeddings):
    def embed_query(self, text):
        return [1.0, 2.0]

    def embed_documents(self, texts):
        return embed(texts)


two = Two()
number = 7
own = InMemoryStore()
OPEN = []


def make():
    return own


async def make_async():
    return own


@contextlib.asynccontextmanager
async def within():
    OPEN.append(1)
    yield own
    OPEN.clear()


def wrong():
    return 7
"""


def store_of(folder: Path, store: Any) -> ProjectStore:
    (folder / "things.py").write_text(CODE)
    config = {"graphs": {"g": "./things.py:graph"}, "store": store}
    (folder / "langgraph.json").write_text(json.dumps(config))
    return load(folder / "langgraph.json").store


def index(embed: Any = "./things.py:embed", **more: Any) -> dict[str, Any]:
    return {"index": {"embed": embed, "dims": 2, **more}}


def test_explicit_settings_are_used(tmp_path: Path) -> None:
    store = store_of(tmp_path, {})
    assert store.is_configured
    assert store.ttl_config is None
    store = store_of(tmp_path, {"ttl": {"default_ttl": 5, "sweep_interval_minutes": 1}})
    assert store.ttl_config == {"default_ttl": 5, "refresh_on_read": True}
    store = store_of(tmp_path, {**index(fields=["a"]), "ttl": {"refresh_on_read": False}})
    assert store.ttl_config == {"refresh_on_read": False}
    assert store.settings.index is not None
    assert store.settings.index.fields == ["a"]
    assert not store_of(tmp_path, None).is_configured


@pytest.mark.parametrize("name", ["embed", "two"])
def test_functions_and_objects_are_accepted_as_embeddings(tmp_path: Path, name: str) -> None:
    embeddings = store_of(tmp_path, index(f"./things.py:{name}"))._embeddings
    assert isinstance(embeddings, Embeddings)
    assert embeddings.embed_query("x") == [1.0, 2.0]


@pytest.mark.parametrize(
    ("store", "problem"),
    [
        ([], "$.store"),
        ({"index": {"embed": "./things.py:embed"}}, "dims"),
        ({"index": {"dims": 2}}, "embed"),
        (index(dims=0), "$.store.index.dims"),
        (index(dims="2"), "$.store.index.dims"),
        (index(fields="text"), "$.store.index.fields"),
        ({"ttl": {"default_ttl": 0}}, "$.store.ttl.default_ttl"),
        ({"ttl": {"default_ttl": "5"}}, "$.store.ttl.default_ttl"),
        ({"ttl": {"refresh_on_read": "no"}}, "$.store.ttl.refresh_on_read"),
        (index("./things.py:missing"), "store.index.embed: ./things.py has no 'missing'"),
        (index("./nothing.py:embed"), "store.index.embed: there is no file ./nothing.py"),
        (index("./things.py:number"), "a function from texts to vectors"),
        (index("./things.py:Two"), "a function from texts to vectors"),
        (index("text-embedding"), "neither 'provider:model' nor './path.py:name'"),
        (index("nobody:model"), "store.index.embed: 'nobody:model' can't be used"),
        ({"path": "./things.py:missing"}, "store.path: ./things.py has no 'missing'"),
        ({"path": "./things.py:own", **index()}, "take them out"),
    ],
)
def test_invalid_store_settings_are_rejected_at_start(
    tmp_path: Path, store: Any, problem: str
) -> None:
    with pytest.raises(SettingError) as project_error:
        store_of(tmp_path, store)
    assert problem in str(project_error.value)


@pytest.mark.parametrize("name", ["own", "make", "make_async", "within"])
async def test_an_external_store_is_used(
    tmp_path: Path, name: str, bare_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path, {"path": f"./things.py:{name}"})
    store.connect(bare_redis)
    await store.aput(("a",), "k", {"x": 1})
    item = await store.aget(("a",), "k")
    assert item is not None
    assert item.value == {"x": 1}
    assert isinstance(store._opened, InMemoryStore)
    await store.aclose()


async def test_an_in_memory_store_is_logged_once(
    tmp_path: Path, bare_redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(tmp_path, {"path": "./things.py:make"})
    store.connect(bare_redis)
    await store.warm_up()
    await store.aput(("a",), "k", {"x": 1})
    await store.aget(("a",), "k")
    [said] = [each.getMessage() for each in caplog.records if "InMemoryStore" in each.getMessage()]
    assert "separate in each worker process" in said
    await store.aclose()


async def test_an_object_that_is_no_store_is_rejected(tmp_path: Path, bare_redis: Client) -> None:
    store = store_of(tmp_path, {"path": "./things.py:wrong"})
    store.connect(bare_redis)
    with pytest.raises(UnavailableError, match=r"store\.path .* gives a int, not a BaseStore"):
        await store.aget(("a",), "k")


def test_the_store_is_a_base_store() -> None:
    assert issubclass(ProjectStore, BaseStore)
    assert ProjectStore.supports_ttl
