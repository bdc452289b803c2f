"""`/store`: stored items are found under any name, and nothing else is."""

from datetime import datetime
from typing import Any

import httpx
import pytest

from e2e.store.store_requests import found_keys, get, namespaces, new_namespace, put, search
from harness.waiting import until
from millstream.shared import keys, store_items
from millstream.shared.redis import Client

ODD = [
    "a|b", "a-b", "a*", "*", '"q"', "'", "{x}", "@under:{*}", "(", ")", "[", "-", "~", "%", "a b",
    " ", "\t", "\n", "\\", "a\\", "ü", "日本", "🦜", "the", "is", "A", "a", "null", "$", "$*", "=>[KNN",
    "a,b", "a;b", "a:b", "a/b", "?", "#", "&", "+", "%00", "\x01", "\uff21", "e\u0301", "é", "x" * 5000,
]  # fmt: skip


async def test_an_item_is_put_replaced_and_deleted(http: httpx.AsyncClient) -> None:
    namespace = [new_namespace(), "b"]
    assert await get(http, namespace, "k") is None
    await put(http, namespace, "k", {"x": 1})
    first = await get(http, namespace, "k")
    assert set(first) == {"namespace", "key", "value", "created_at", "updated_at"}
    assert (first["namespace"], first["key"], first["value"]) == (namespace, "k", {"x": 1})
    assert first["created_at"] == first["updated_at"]
    assert datetime.fromisoformat(first["created_at"]).tzinfo is not None

    await put(http, namespace, "k", {"y": 2})
    second = await get(http, namespace, "k")
    assert second["value"] == {"y": 2}
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] > first["updated_at"]
    assert await search(http, namespace) == [{**second, "score": None}]

    for _ in range(2):  # the second request deletes nothing
        response = await http.request(
            "DELETE", "/store/items", json={"namespace": namespace, "key": "k"}
        )
        assert (response.status_code, response.content) == (204, b"")
        assert await get(http, namespace, "k") is None
        assert await search(http, namespace) == []
        assert await namespaces(http, prefix=namespace) == []


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"": "", "a.b": {"$eq": [None, True, False]}},
        {"big": 2**64 - 1, "small": -(2**63), "float": 1.0, "tiny": 5e-324, "huge": 1.7e308},
        {"text": 'quotes " and \\ and \u2028 and \u0000 and 🦜', "empty": [], "none": {}},
        {"__serde_type__": "json", "__serde_data__": "{}"},
        {"deep": [[[[[[[[[[{"a": {"b": [1, {"c": 2}]}}]]]]]]]]]]},
    ],
)
async def test_a_value_is_returned_unchanged(
    http: httpx.AsyncClient, value: dict[str, Any]
) -> None:
    namespace = [new_namespace()]
    await put(http, namespace, "k", value)
    assert (await get(http, namespace, "k"))["value"] == value
    [item] = await search(http, namespace)
    assert item["value"] == value


async def test_a_deep_value_is_stored_or_rejected(http: httpx.AsyncClient) -> None:
    namespace = [new_namespace()]
    for depth in (100, 200, 250, 300, 900, 5000):
        text = '{"a":' * depth + "1" + "}" * depth
        body = f'{{"namespace":["{namespace[0]}"],"key":"{depth}","value":{text}}}'
        response = await http.put("/store/items", content=body)
        if response.status_code == 204:
            answer = await http.get(
                "/store/items", params={"namespace": namespace[0], "key": str(depth)}
            )
            assert text in answer.text
        else:
            assert response.status_code == 422, response.text
            assert "deep" in response.json()["detail"]
        assert depth > 200 or response.status_code == 204


async def test_any_string_is_a_valid_name(http: httpx.AsyncClient) -> None:
    namespace = new_namespace()
    for name in ODD:
        await put(http, [namespace, name], name, {"name": name})
    for name in ODD:
        assert (await get(http, [namespace, name], name))["value"] == {"name": name}
        [item] = await search(http, [namespace, name], filter={"name": name})
        assert (item["namespace"], item["key"]) == ([namespace, name], name)
        if name != "*":
            assert await namespaces(http, prefix=[namespace, name]) == [[namespace, name]]
    assert await namespaces(http, prefix=[namespace]) == sorted([namespace, name] for name in ODD)
    assert len(await search(http, [namespace], limit=1000)) == len(ODD)
    for name in ODD:
        body = {"namespace": [namespace, name], "key": name}
        assert (await http.request("DELETE", "/store/items", json=body)).status_code == 204
    assert await search(http, [namespace]) == []


async def test_a_prefix_matches_whole_labels(http: httpx.AsyncClient) -> None:
    namespace = new_namespace()
    for path in (["use"], ["users"], ["users", "Ann"], ["users", "ann"], ["run"], ["runs"]):
        await put(http, [namespace, *path], "k", {"path": path})
    assert len(await search(http, [namespace, "use"])) == 1
    assert len(await search(http, [namespace, "users"])) == 3
    assert (await get(http, [namespace, "users", "Ann"], "k"))["value"]["path"] == ["users", "Ann"]
    assert (await get(http, [namespace, "runs"], "k"))["value"]["path"] == ["runs"]


async def test_search_pages_and_filters_items(http: httpx.AsyncClient) -> None:
    namespace = [new_namespace()]
    for n in range(15):
        value = {"n": n, "even": n % 2 == 0, "word": f"w{n:02}", "at": {"x": n, "y": [n, {"z": 1}]}}
        await put(http, namespace, str(n), value)
    newest = [str(n) for n in reversed(range(15))]
    assert await found_keys(http, namespace) == newest[:10]
    assert await found_keys(http, namespace, limit=4, offset=9) == newest[9:13]
    assert await found_keys(http, namespace, offset=100) == []
    assert await found_keys(http, namespace, offset=2**53) == []
    await put(http, namespace, "3", {"n": 3})
    assert await found_keys(http, namespace, limit=2) == ["3", "14"]

    async def keep(filter: dict[str, Any], **more: Any) -> list[str]:
        return await found_keys(http, namespace, filter=filter, **more)

    assert await keep({"n": 0}) == ["0"]  # the last of all, which is not on the first page
    assert await keep({"n": {"$eq": 4}}) == ["4"]
    assert await keep({"n": {"$gt": 11}}) == ["14", "13", "12"]
    assert await keep({"n": {"$gte": 5, "$lt": 7}}) == ["6", "5"]
    assert await keep({"n": {"$lte": 1}}, limit=1) == ["1"]
    assert await keep({"n": {"$lte": 1}}, limit=1, offset=1) == ["0"]
    assert await keep({"word": {"$gt": "w12"}}) == ["14", "13"]
    assert await keep({"word": {"$gt": 3}}) == []
    assert await keep({"even": True, "n": {"$lt": 3}}) == ["2", "0"]
    assert await keep({"even": 1}) == []
    assert await keep({"even": {"$ne": True}}, limit=3) == ["3", "13", "11"]
    assert await keep({"at": {"x": 7}}) == ["7"]
    assert await keep({"at": {"y": [7, {"z": 1}]}}) == ["7"]
    assert await keep({"nothing": {"$gt": 1}}) == []
    assert await keep({"nothing": None}, limit=1) == ["3"]
    assert await keep({"@under:{*}": "*"}) == []


async def test_namespaces_are_listed_by_prefix_suffix_and_depth(http: httpx.AsyncClient) -> None:
    namespace = new_namespace()
    for path in (["a", "x"], ["a", "y", "z"], ["b", "x"], ["c", "y", "z"]):
        await put(http, [namespace, *path], "k", {})

    async def listed(**query: Any) -> list[list[str]]:
        query["prefix"] = [namespace, *query.get("prefix", [])]
        return [path[1:] for path in await namespaces(http, **query)]

    assert await listed() == [["a", "x"], ["a", "y", "z"], ["b", "x"], ["c", "y", "z"]]
    assert await listed(prefix=["a"]) == [["a", "x"], ["a", "y", "z"]]
    assert await listed(suffix=["x"]) == [["a", "x"], ["b", "x"]]
    assert await listed(prefix=["*", "y"], suffix=["*"]) == [["a", "y", "z"], ["c", "y", "z"]]
    assert await listed(max_depth=2) == [["a"], ["b"], ["c"]]
    assert await listed(limit=2, offset=1) == [["a", "y", "z"], ["b", "x"]]
    assert [namespace, "a", "x"] in await namespaces(http, limit=1000)
    assert len({tuple(p) for p in await namespaces(http, max_depth=1, prefix=[namespace])}) == 1


async def test_an_item_expires_after_its_ttl(http: httpx.AsyncClient, redis: Client) -> None:
    namespace = [new_namespace()]
    await put(http, namespace, "short", {}, ttl=0.005)

    async def gone() -> bool:
        return await get(http, namespace, "short", refresh_ttl=False) is None

    await until(gone, within=10)
    assert await search(http, namespace) == []

    name = keys.item(store_items.item_name(namespace, "long"))
    await put(http, namespace, "long", {}, ttl=10)
    assert 500_000 < await redis.pttl(name) <= 600_000
    await redis.pexpire(name, 100_000)
    await get(http, namespace, "long", refresh_ttl=False)
    await search(http, namespace, refresh_ttl=False)
    assert await redis.pttl(name) <= 100_000
    for read in (
        lambda: get(http, namespace, "long"),
        lambda: search(http, namespace),
        lambda: search(http, namespace, filter={"no": {"$ne": 1}}),
    ):
        await redis.pexpire(name, 100_000)
        await read()
        assert await redis.pttl(name) > 500_000
    await redis.pexpire(name, 100_000)
    await search(http, namespace, filter={"no": 1})  # compared, but no match
    assert await redis.pttl(name) <= 100_000
    await put(http, namespace, "long", {})
    assert await redis.pttl(name) == -1


BAD_NAMESPACES: list[Any] = [
    [], [""], ["a", ""], ["a.b"], ["langgraph"], ["a\0"], "a", [1], [None], {},
]  # fmt: skip
BAD: list[tuple[str, str, dict[str, Any], str]] = [
    *(
        (method, "/store/items", {**rest, "namespace": namespace}, "namespace")
        for method, rest in (("PUT", {"key": "k", "value": {}}), ("DELETE", {"key": "k"}))
        for namespace in BAD_NAMESPACES
    ),
    *(
        ("PUT", "/store/items", {"namespace": ["a"], "key": "k", "value": {}, **bad}, name)
        for bad, name in (
            ({"key": ""}, "key"), ({"key": 1}, "key"), ({"value": []}, "value"),
            ({"value": "x"}, "value"), ({"value": None}, "value"), ({"index": True}, "index"),
            ({"index": 0}, "index"), ({"index": "text"}, "index"), ({"index": [1]}, "index"),
            ({"ttl": 0}, "ttl"), ({"ttl": -1}, "ttl"), ({"ttl": "5"}, "ttl"), ({"ttl": 1e300}, "ttl"),
            ({"ttl": True}, "ttl"), ({"namespace": ["a"] * 65}, "namespace"),
        )
    ),
    ("PUT", "/store/items", {"namespace": ["a"], "key": "k"}, "value"),
    ("DELETE", "/store/items", {"namespace": ["a"]}, "key"),
    *(
        ("POST", "/store/items/search", {"namespace_prefix": ["a"], **bad}, name)
        for bad, name in (
            ({"namespace_prefix": ["a.b"]}, "namespace_prefix"), ({"limit": 0}, "limit"),
            ({"limit": 1001}, "limit"), ({"offset": -1}, "offset"), ({"query": 1}, "query"),
            ({"filter": []}, "filter"), ({"filter": {"a": {"$like": 1}}}, "$like"),
            ({"filter": {"a": {"$gt": 1, "b": 2}}}, "filter"), ({"refresh_ttl": "yes"}, "refresh_ttl"),
            ({"filter": {"a": {"b": [{"$x": 1}]}}}, "$x"),
        )
    ),
    *(
        ("POST", "/store/namespaces", bad, next(iter(bad)))
        for bad in (
            {"prefix": "a"}, {"suffix": ["a.b"]}, {"max_depth": 0}, {"limit": 0}, {"offset": -1},
        )
    ),
]  # fmt: skip


async def test_an_invalid_field_is_named(http: httpx.AsyncClient) -> None:
    for method, path, body, field in BAD:
        response = await http.request(method, path, json=body)
        assert response.status_code == 422, (method, path, body, response.text)
        assert field in response.json()["detail"], (body, response.text)
    for query in (
        "",
        "namespace=a",
        "key=k",
        "namespace=&key=k",
        "namespace=a..b&key=k",
        "namespace=a&key=",
        "namespace=a%00&key=k",
        "namespace=a&key=k&refresh_ttl=maybe",
    ):
        response = await http.get(f"/store/items?{query}")
        assert response.status_code == 422, (query, response.text)
    for content in (b"", b"[]", b"{", b'{"namespace":["\xff"]}', b'{"namespace":["\\ud800"]}'):
        assert (await http.put("/store/items", content=content)).status_code == 422
    # A key may be any JSON string; unknown fields are ignored.
    namespace = [new_namespace()]
    await put(http, namespace, "a\0b", {"x": 1}, newer=True)
    assert (await get(http, namespace, "a\0b"))["value"] == {"x": 1}
    assert (await http.get(f"/store/items?namespace={namespace[0]}&key=%ff")).json() is None
    assert (await search(http, [namespace[0]], newer=1)) != []
    assert (await http.post("/store/items/search")).status_code == 200
    assert (await http.post("/store/namespaces")).status_code == 200
