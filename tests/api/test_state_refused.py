"""Invalid requests for a thread's state are rejected and change nothing."""

import uuid
from typing import Any

import httpx
import pytest

from api.requests import UNKNOWN_ID, detail
from api.thread_state import NO_CHECKPOINT, history, state


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        ({"values": {"items": ["x"]}, "as_node": "nope"}, 400, "as_node: Node nope does not exist"),
        ({"values": {"items": ["x"]}, "as_node": ""}, 400, "as_node"),
        ({"values": ["x"]}, 422, "values"),
        ({"values": "text"}, 422, "values"),
        ({"values": 1}, 422, "values"),
        ({"values": {"items": 5}}, 422, "values"),
        ({"values": {}, "as_node": 5}, 422, "as_node"),
        ({"values": {}, "checkpoint": "x"}, 422, "checkpoint"),
        ({"values": {}, "checkpoint": {"checkpoint_id": "x"}}, 422, "checkpoint.checkpoint_id"),
        ({"values": {}, "checkpoint": {"checkpoint_ns": 1}}, 422, "checkpoint.checkpoint_ns"),
        ({"values": {}, "checkpoint": {"checkpoint_map": {"": 1}}}, 422, "checkpoint_map"),
        ({"values": {}, "checkpoint": {"thread_id": UNKNOWN_ID}}, 422, "checkpoint.thread_id"),
        ({"values": {}, "checkpoint_id": "x"}, 422, "checkpoint_id"),
        ({"values": {}, "checkpoint_id": NO_CHECKPOINT}, 404, NO_CHECKPOINT),
        ({"values": {}, "checkpoint": {"checkpoint_id": NO_CHECKPOINT}}, 404, NO_CHECKPOINT),
        ({"values": {}, "checkpoint": {"checkpoint_ns": "no:such"}}, 422, "checkpoint_ns"),
        ({"values": {}, "checkpoint_id": UNKNOWN_ID, "checkpoint": {"checkpoint_id": NO_CHECKPOINT}},
         422, "checkpoint_id"),
    ],
)  # fmt: skip
async def test_invalid_updates_are_rejected(
    http: httpx.AsyncClient, stepped: str, body: dict[str, Any], status: int, problem: str
) -> None:
    before = (await history(http, stepped), (await http.get(f"/threads/{stepped}")).json())
    response = await http.post(f"/threads/{stepped}/state", json=body)
    assert response.status_code == status, response.text
    assert problem in detail(response)
    assert (await history(http, stepped), (await http.get(f"/threads/{stepped}")).json()) == before


@pytest.mark.parametrize(
    ("method", "tail", "body_value", "problem"),
    [
        ("GET", "/state", {"subgraphs": "maybe"}, "subgraphs"),
        ("GET", "/state", {"select": "nothing"}, "select"),
        ("GET", "/state/xyz", {}, "checkpoint"),
        ("GET", "/history", {"limit": "0"}, "limit"),
        ("GET", "/history", {"limit": "1001"}, "limit"),
        ("GET", "/history", {"limit": "ten"}, "limit"),
        ("GET", "/history", {"before": "yesterday"}, "before"),
        ("POST", "/history", {"limit": 0}, "limit"),
        ("POST", "/history", {"limit": 1001}, "limit"),
        ("POST", "/history", {"limit": "3"}, "limit"),
        ("POST", "/history", {"limit": 1.5}, "limit"),
        ("POST", "/history", {"before": 7}, "before"),
        ("POST", "/history", {"before": "a\0b"}, "before"),
        ("POST", "/history", {"before": {}}, "before"),
        ("POST", "/history", {"before": {"configurable": 1}}, "before"),
        ("POST", "/history", {"metadata": []}, "metadata"),
        ("POST", "/history", {"checkpoint": []}, "checkpoint"),
        ("POST", "/history", {"checkpoint": {"thread_id": UNKNOWN_ID}}, "checkpoint.thread_id"),
        ("POST", "/history", {"select": ["nothing"]}, "select"),
        ("POST", "/state/checkpoint", {}, "checkpoint"),
        ("POST", "/state/checkpoint", {"checkpoint": {"checkpoint_id": ""}}, "checkpoint_id"),
        ("POST", "/state/checkpoint", {"checkpoint": {}, "subgraphs": "yes"}, "subgraphs"),
        ("POST", "/state/checkpoint", {"checkpoint": {}, "select": [1]}, "select"),
    ],
)
async def test_invalid_reads_are_rejected(
    http: httpx.AsyncClient, stepped: str, method: str, tail: str, body_value: Any, problem: str
) -> None:
    key = "params" if method == "GET" else "json"
    response = await http.request(method, f"/threads/{stepped}{tail}", **{key: body_value})
    assert response.status_code == 422, response.text
    assert problem in detail(response)


async def test_unknown_threads_and_checkpoints_are_handled(
    http: httpx.AsyncClient, stepped: str
) -> None:
    nobody = str(uuid.uuid4())
    for method, tail in (
        ("GET", "/state"),
        ("GET", f"/state/{NO_CHECKPOINT}"),
        ("POST", "/state"),
        ("GET", "/history"),
        ("POST", "/history"),
    ):
        response = await http.request(method, f"/threads/{nobody}{tail}", json={})
        assert response.status_code == 404, (method, tail)
        assert nobody in detail(response)
        response = await http.request(method, f"/threads/odd{tail}", json={})
        assert response.status_code == 422
    empty = (await http.post("/threads", json={})).json()["thread_id"]
    response = await http.post(f"/threads/{empty}/state", json={"values": {}})
    assert response.status_code == 400
    assert "graph" in detail(response)
    for ns in ("a\0b", "|", ":", "x" * 10_000, "é:1|b:2"):
        subgraph = {"checkpoint": {"checkpoint_ns": ns}}
        response = await http.post(f"/threads/{stepped}/state/checkpoint", json=subgraph)
        assert (response.status_code, response.json()["values"]) == (200, {})
        response = await http.post(f"/threads/{stepped}/state", json={"values": {}, **subgraph})
        assert response.status_code == 422
    assert await state(http, stepped, unknown="field")


@pytest.mark.parametrize("depth", [50, 120, 300, 700, 1200, 5000])
async def test_deep_values_are_rejected(http: httpx.AsyncClient, stepped: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    for tail, text in (
        ("/state", f'{{"values": {{"items": [{deep}]}}}}'),
        ("/history", f'{{"metadata": {{"deep": {deep}}}}}'),
        ("/state/checkpoint", f'{{"checkpoint": {deep}}}'),
    ):
        response = await http.post(f"/threads/{stepped}{tail}", content=text)
        assert response.status_code in (200, 422), (tail, response.text)
    update = f'{{"as_node": "step", "values": {{"items": [{deep}]}}}}'
    body = f'{{"metadata": {{"graph_id": "steps"}}, "supersteps": [{{"updates": [{update}]}}]}}'
    response = await http.post("/threads", content=body)
    assert response.status_code in (200, 422), response.text
    assert (await http.get(f"/threads/{stepped}/state")).status_code == 200
    assert (await http.get(f"/threads/{stepped}/history")).status_code == 200


async def test_a_graph_without_a_worker_is_503(http: httpx.AsyncClient) -> None:
    body = {"metadata": {"graph_id": "served by nobody"}}
    thread = (await http.post("/threads", json=body)).json()["thread_id"]
    response = await http.post(f"/threads/{thread}/state", json={"values": {}})
    assert response.status_code == 503
    assert "served by nobody" in detail(response)
    assert "retry-after" in response.headers
