"""Graphs use the same store as the routes `/store`."""

from typing import Any

import httpx

from e2e.store.store_requests import get, new_namespace, put


async def run(http: httpx.AsyncClient, graph: str, **values: Any) -> Any:
    response = await http.post("/runs/wait", json={"assistant_id": graph, "input": values})
    assert response.status_code == 200, response.text
    return response.json()


async def test_runs_share_the_store(http: httpx.AsyncClient) -> None:
    user = new_namespace()
    assert await run(http, "remember", user=user, text="abba") == {"user": user, "text": "abba"}
    assert (await get(http, ["users", user], "runtime"))["value"] == {"text": "abba", "n": 1}
    value = (await get(http, ["users", user], "config"))["value"]
    assert value["said"]["content"] == "typed"
    await put(http, ["users", user], "http", {"text": "zzz", "n": 5})
    recalled = await run(http, "recall", user=user, text="ab")
    assert recalled["result"] == {
        "keys": ["config", "http", "parameter", "runtime"],
        "near": ["runtime", "http"],
        "type": "AIMessage",
        "namespaces": [["users", user]],
    }


async def test_without_redis_modules_only_the_store_is_unavailable(storeless_url: str) -> None:
    async with httpx.AsyncClient(base_url=storeless_url, timeout=30) as http:
        assert (await run(http, "plain", text="?")) == {"text": "done"}
        for graph in ("remember", "recall"):
            failed = await run(http, graph, user="me", text="?")
            assert failed["__error__"]["error"] == "StoreUnavailableError"
            assert "RediSearch and RedisJSON" in failed["__error__"]["message"]
        item = {"namespace": ["a"], "key": "k"}
        for response in (
            await http.put("/store/items", json={**item, "value": {}}),
            await http.get("/store/items", params={"namespace": "a", "key": "k"}),
            await http.request("DELETE", "/store/items", json=item),
            await http.post("/store/items/search", json={"namespace_prefix": ["a"]}),
            await http.post("/store/namespaces", json={}),
        ):
            assert response.status_code == 503
            assert "The store needs a Redis with RediSearch and RedisJSON" in response.text
            assert "retry-after" in response.headers
        # An invalid request is a 422 here too.
        assert (await http.put("/store/items", json=item)).status_code == 422
        assert (await http.post("/threads", json={})).status_code == 200
        assert (await http.get("/ok")).status_code == 200
