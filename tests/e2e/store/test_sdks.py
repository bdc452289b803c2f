"""The store through both SDKs."""

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import UnprocessableEntityError

from e2e import node
from e2e.store.store_requests import new_namespace


async def test_the_python_sdk_uses_the_store(store_system: tuple[str, str]) -> None:
    async with get_client(url=store_system[0]) as client:
        store, namespace = client.store, new_namespace()
        await store.put_item([namespace, "a"], "one", {"text": "aaa", "n": 1})
        await store.put_item([namespace, "b"], "two", {"text": "bbb", "n": 2}, index=False, ttl=5)
        one = await store.get_item([namespace, "a"], "one", refresh_ttl=True)
        assert one["namespace"] == [namespace, "a"]
        assert one["value"] == {"text": "aaa", "n": 1}
        assert await store.get_item([namespace, "a"], "none") is None
        page = await store.search_items([namespace], filter={"n": {"$gt": 1}}, limit=5)
        assert [item["key"] for item in page["items"]] == ["two"]
        near = await store.search_items([namespace], query="aa", refresh_ttl=False)
        assert [(item["key"], item["score"]) for item in near["items"]] == [("one", 1.0)]
        paths = await store.list_namespaces(prefix=[namespace], suffix=["b"], max_depth=3)
        assert paths["namespaces"] == [[namespace, "b"]]
        await store.delete_item([namespace, "a"], "one")
        assert await store.get_item([namespace, "a"], "one") is None
        with pytest.raises(UnprocessableEntityError, match="namespace"):
            await store.put_item([""], "k", {})


async def test_the_javascript_sdk_uses_the_store(store_system: tuple[str, str]) -> None:
    node.require()
    namespace = new_namespace()
    seen = await node.node("store.mjs", store_system[0], namespace)
    assert seen["one"]["value"] == {"text": "aaa", "n": 1}
    assert seen["one"]["createdAt"] == seen["one"]["updatedAt"]
    assert seen["none"] is None
    assert [item["key"] for item in seen["all"]["items"]] == ["two", "one"]
    assert [item["key"] for item in seen["some"]["items"]] == ["two"]
    assert [item["key"] for item in seen["near"]["items"]] == ["one"]
    assert seen["places"]["namespaces"] == [[namespace, "a"], [namespace, "b"]]
    assert seen["gone"] is None
