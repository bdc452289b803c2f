"""Search by meaning, with an embedding that counts letters."""

import httpx

from e2e.store.store_requests import found_keys, get, new_namespace, put, search


async def test_the_nearest_items_come_first(http: httpx.AsyncClient) -> None:
    namespace = [new_namespace()]
    await put(http, [*namespace, "x"], "as", {"text": "aaaa", "n": 1})
    await put(http, [*namespace, "y"], "abs", {"text": "abab", "n": 2})
    await put(http, namespace, "bs", {"text": "b", "n": 3})
    await put(http, namespace, "many", {"text": "zzz", "n": 4})
    items = await search(http, namespace, query="aaa")
    assert [item["key"] for item in items][:2] == ["as", "abs"]
    assert [round(item["score"], 3) for item in items] == [1.0, 0.707, 0.0, 0.0]
    assert await found_keys(http, namespace, query="a", limit=1, offset=1) == ["abs"]
    assert await found_keys(http, namespace, query="ab", filter={"n": {"$ne": 2}}, limit=2) != [
        "abs"
    ]
    assert await found_keys(http, namespace, query="z", filter={"n": {"$lt": 2}}) == ["as"]
    assert await found_keys(http, [*namespace, "y"], query="aaa") == ["abs"]
    for far in (5, 999_999, 2**53):
        assert await search(http, namespace, query="a", offset=far) == []
        assert await search(http, namespace, query="a", offset=far, filter={"n": {"$gt": 0}}) == []


async def test_index_selects_the_embedded_fields(http: httpx.AsyncClient) -> None:
    namespace = [new_namespace()]
    await put(http, namespace, "no", {"text": "aaa"}, index=False)
    await put(http, namespace, "other", {"text": "bbb", "title": "aaa"}, index=["title"])
    await put(
        http, namespace, "two", {"text": "zzz", "tags": ["qqq", "aaa"]}, index=["tags[*]", "text"]
    )
    await put(http, namespace, "all", {"value": "aaa"}, index=["$"])
    await put(http, namespace, "blank", {"text": "  "})
    await put(http, namespace, "digits", {"text": "123"})  # a vector without a direction
    await put(http, namespace, "none", {"text": "aaa"}, index=[])
    scores = {item["key"]: item["score"] for item in await search(http, namespace, query="aaaa")}
    assert set(scores) == {"other", "two", "all"}
    assert round(scores["two"], 3) == 1.0  # by the nearest of its texts
    assert len(await search(http, namespace)) == 7
    assert len(await search(http, namespace, query="123")) == 7  # no direction: all, newest first
    for path in ("$..*", "[", "{", "a..b", "{a,b", "*", "[x]", "tags[-1]", "]"):
        await put(http, namespace, "odd", {"text": "a", "tags": ["a"]}, index=[path])
        assert await get(http, namespace, "odd") is not None
    # After another put, only its new text counts.
    await put(http, namespace, "other", {"text": "ccc"})
    assert (await found_keys(http, namespace, query="ccc"))[0] == "other"
    assert (await search(http, namespace, query="aaa"))[-1]["key"] == "other"


async def test_failing_embeddings_are_a_503_with_the_cause(http: httpx.AsyncClient) -> None:
    namespace = [new_namespace()]
    body = {"namespace": namespace, "key": "k", "value": {"text": "provider down"}}
    response = await http.put("/store/items", json=body)
    assert response.status_code == 503
    assert "embeddings" in response.json()["detail"]
    assert "provider is down" in response.json()["detail"]
    assert await get(http, namespace, "k") is None
    query = {"namespace_prefix": namespace, "query": "provider down"}
    assert (await http.post("/store/items/search", json=query)).status_code == 503
