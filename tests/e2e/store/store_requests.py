"""Requests of the store's routes."""

import uuid
from typing import Any

import httpx


def new_namespace() -> str:
    """Returns a namespace label that no other test uses."""
    return uuid.uuid4().hex


async def put(
    http: httpx.AsyncClient, namespace: list[str], key: str, value: dict[str, Any], **more: Any
) -> None:
    body = {"namespace": namespace, "key": key, "value": value, **more}
    response = await http.put("/store/items", json=body)
    assert response.status_code == 204, response.text
    assert response.content == b""


async def get(http: httpx.AsyncClient, namespace: list[str], key: str, **more: Any) -> Any:
    params = {"namespace": ".".join(namespace), "key": key, **more}
    response = await http.get("/store/items", params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def search(http: httpx.AsyncClient, prefix: list[str], **more: Any) -> list[dict[str, Any]]:
    body = {"namespace_prefix": prefix, **more}
    response = await http.post("/store/items/search", json=body)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def found_keys(http: httpx.AsyncClient, prefix: list[str], **more: Any) -> list[str]:
    return [item["key"] for item in await search(http, prefix, **more)]


async def namespaces(http: httpx.AsyncClient, **query: Any) -> list[list[str]]:
    response = await http.post("/store/namespaces", json=query)
    assert response.status_code == 200, response.text
    paths: list[list[str]] = response.json()["namespaces"]
    return paths
