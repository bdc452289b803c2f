"""Threads that are created with a state, copied or pruned, or that expire."""

import asyncio
import uuid
from datetime import datetime
from typing import Any

import httpx
import pytest

from api.requests import STEPS, UNKNOWN_ID, detail
from api.run_fields import busy
from api.thread_state import COVERED_FIELDS, covers
from harness.waiting import until
from millstream.api.threads.schemas import ThreadCreate, ThreadQuery, ThreadsPrune


async def create(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await http.post("/threads", json=body)
    assert response.status_code == 200, response.text
    thread = response.json()
    assert isinstance(thread, dict)
    return thread


async def read(http: httpx.AsyncClient, path: str, **query: Any) -> Any:
    response = await http.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def step(*updates: dict[str, Any]) -> dict[str, Any]:
    return {"updates": list(updates)}


@pytest.fixture
async def stepped(http: httpx.AsyncClient) -> str:
    """A thread with metadata on which `steps` has run: items [0, 1, 2]."""
    thread = (await create(http, metadata={"who": "me"}))["thread_id"]
    await http.post(f"/threads/{thread}/runs/wait", json=STEPS)
    return str(thread)


# ── Supersteps ──────────────────────────────────────────────────────────────────────────────


@covers(ThreadCreate, "graph_id", "metadata", "supersteps")
@pytest.mark.parametrize(
    "graph_fields", [{"metadata": {"graph_id": "chain"}}, {"graph_id": "chain"}]
)
async def test_a_thread_is_created_with_a_state(
    web: httpx.AsyncClient, graph_fields: dict[str, Any]
) -> None:
    supersteps = [
        step({"values": {"path": ["in"]}, "as_node": "__start__"}),
        step({"values": {"path": ["A"]}, "as_node": "a"}),
        step(
            {"values": {"path": ["B"]}, "as_node": "b"},
            {
                "command": {"update": {"path": ["by command"]}},
                "values": {"path": ["ignored"]},
                "as_node": "a",
            },
        ),
    ]
    thread = await create(web, supersteps=supersteps, **graph_fields)
    assert thread["values"]["path"][:2] == ["in", "A"]
    assert sorted(thread["values"]["path"][2:]) == ["B", "by command"]
    assert thread["metadata"]["graph_id"] == "chain"
    assert thread["status"] == "interrupted"
    path = f"/threads/{thread['thread_id']}"
    state = await read(web, f"{path}/state")
    assert state["values"] == thread["values"]
    assert sorted(state["next"]) == ["b", "c"]
    assert len(await read(web, f"{path}/history")) == 3
    answer = await web.post(f"{path}/runs/wait", json={"assistant_id": "chain"})
    assert answer.json()["path"][-1] == "c"


@covers(ThreadCreate, "thread_id", "if_exists")
async def test_a_seeded_thread_is_created_once(http: httpx.AsyncClient) -> None:
    thread_id = str(uuid.uuid4())
    body: dict[str, Any] = {
        "thread_id": thread_id,
        "metadata": {"graph_id": "steps"},
        "supersteps": [step({"values": {"items": ["s"]}, "as_node": "step"})],
    }
    answers = await asyncio.gather(*(http.post("/threads", json=body) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [409] * 7
    again = await create(http, **body, if_exists="do_nothing")
    assert again["values"] == {"items": ["s"]}
    assert len(await read(http, f"/threads/{thread_id}/history")) == 1


@pytest.mark.parametrize(
    ("fields", "status", "problem"),
    [
        ({"supersteps": [step({"values": {}, "as_node": "nope"})]}, 400, "as_node"),
        ({"supersteps": [step({"values": {"items": ["a"]}, "as_node": "step"}),
                         step({"values": {"items": 5}, "as_node": "step"})]}, 422, "values"),
        ({"supersteps": [step({"values": {}}, {"values": {}})]}, 400, "as_node"),
        ({"supersteps": [step()]}, 422, "supersteps.0.updates"),
        ({"supersteps": [{}]}, 422, "supersteps.0.updates"),
        ({"supersteps": {}}, 422, "supersteps"),
        ({"supersteps": [step({"values": 1})]}, 422, "supersteps.0.updates.0.values"),
        ({"supersteps": [step({"command": {"x": 1}})]}, 422, "supersteps.0.updates.0.command"),
        ({"supersteps": [step({"values": {}})] * 1001}, 422, "supersteps"),
        ({"supersteps": [step({"values": {}})], "metadata": {}}, 422, "graph_id"),
        ({"supersteps": [step({"values": {}})], "metadata": {"graph_id": 1}}, 422, "graph_id"),
        ({"supersteps": [step({"values": {}})], "metadata": {"graph_id": "no such"}}, 503, "no such"),
        ({"graph_id": "chat"}, 422, "graph_id"),
        ({"graph_id": ""}, 422, "graph_id"),
    ],
)  # fmt: skip
async def test_a_thread_with_an_invalid_seed_is_not_created(
    http: httpx.AsyncClient, fields: dict[str, Any], status: int, problem: str
) -> None:
    thread_id = str(uuid.uuid4())
    body = {"thread_id": thread_id, "metadata": {"graph_id": "steps"}, **fields}
    response = await http.post("/threads", json=body)
    assert response.status_code == status, response.text
    assert problem in detail(response)
    assert (await http.get(f"/threads/{thread_id}")).status_code == 404
    assert (await http.get(f"/threads/{thread_id}/history")).status_code == 404


# ── Copies ──────────────────────────────────────────────────────────────────────────────────


async def test_a_copy_has_the_state_and_is_independent(
    http: httpx.AsyncClient, stepped: str
) -> None:
    source = await read(http, f"/threads/{stepped}")
    response = await http.post(f"/threads/{stepped}/copy")
    assert response.status_code == 200
    copy = response.json()
    assert copy["thread_id"] != stepped
    thread_keys = {"thread_id", "created_at", "updated_at", "state_updated_at"}
    assert {k: v for k, v in copy.items() if k not in thread_keys} == {
        k: v for k, v in source.items() if k not in thread_keys
    }
    path = f"/threads/{copy['thread_id']}"
    old, new = [await read(http, f"/threads/{t}/history") for t in (stepped, copy["thread_id"])]
    assert [s["values"] for s in new] == [s["values"] for s in old]
    assert [s["checkpoint_id"] for s in new] == [s["checkpoint_id"] for s in old]
    assert {s["checkpoint"]["thread_id"] for s in new} == {copy["thread_id"]}
    assert await read(http, f"{path}/runs") == []

    await http.post(f"{path}/state", json={"values": {"items": ["mine"]}})
    assert await read(http, f"/threads/{stepped}/history") == old
    assert (await http.delete(f"/threads/{stepped}")).status_code == 204
    answer = await http.post(f"{path}/runs/wait", json=STEPS)
    assert answer.json()["items"][:4] == [0, 1, 2, "mine"]


async def test_an_interrupted_thread_is_copied_with_its_interrupt(http: httpx.AsyncClient) -> None:
    thread = (await create(http))["thread_id"]
    body: dict[str, Any] = {"assistant_id": "approval", "input": {"topic": "t"}}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    copies = [(await http.post(f"/threads/{thread}/copy")).json() for _ in range(2)]
    for copy, answer in zip(copies, ["yes", "no"], strict=True):
        assert copy["status"] == "interrupted"
        assert len(copy["interrupts"]) == 1
        body = {"assistant_id": "approval", "command": {"resume": answer}}
        done = await http.post(f"/threads/{copy['thread_id']}/runs/wait", json=body)
        assert done.json()["answer"] == answer
    assert (await read(http, f"/threads/{thread}"))["status"] == "interrupted"


async def test_a_missing_or_busy_thread_is_not_copied(http: httpx.AsyncClient, thread: str) -> None:
    assert (await http.post(f"/threads/{uuid.uuid4()}/copy")).status_code == 404
    assert (await http.post("/threads/odd/copy")).status_code == 422
    copy = (await http.post(f"/threads/{thread}/copy")).json()
    assert copy["values"] is None
    run = await busy(http, thread)
    response = await http.post(f"/threads/{thread}/copy")
    assert response.status_code == 409
    assert "busy" in detail(response)
    await http.post(f"/threads/{thread}/runs/{run}/cancel?wait=1")


# ── Pruning ─────────────────────────────────────────────────────────────────────────────────


@covers(ThreadsPrune, "thread_ids", "strategy")
async def test_prune_delete_deletes_threads(
    http: httpx.AsyncClient, stepped: str, thread: str
) -> None:
    body: dict[str, Any] = {"thread_ids": [stepped, thread, stepped, UNKNOWN_ID]}
    assert (await http.post("/threads/prune", json=body)).json() == {"pruned_count": 2}
    for gone in (stepped, thread):
        assert (await http.get(f"/threads/{gone}")).status_code == 404
    assert (await http.post("/threads/prune", json=body)).json() == {"pruned_count": 0}
    assert (await http.post("/threads/prune", json={"thread_ids": []})).json()["pruned_count"] == 0


async def test_prune_keep_latest_keeps_the_newest_state(
    http: httpx.AsyncClient, stepped: str
) -> None:
    before = await read(http, f"/threads/{stepped}/history")
    record = await read(http, f"/threads/{stepped}")
    body = {"thread_ids": [stepped, UNKNOWN_ID], "strategy": "keep_latest"}
    assert (await http.post("/threads/prune", json=body)).json() == {"pruned_count": 1}
    [last_state] = await read(http, f"/threads/{stepped}/history")
    assert last_state["values"] == before[0]["values"]
    assert last_state["checkpoint_id"] == before[0]["checkpoint_id"]
    assert await read(http, f"/threads/{stepped}") == record
    answer = await http.post(f"/threads/{stepped}/runs/wait", json=STEPS)
    assert answer.json()["items"][:3] == [0, 1, 2]


@pytest.mark.parametrize("strategy", ["delete", "keep_latest"])
async def test_a_busy_thread_is_not_pruned(
    http: httpx.AsyncClient, stepped: str, thread: str, strategy: str
) -> None:
    run = await busy(http, thread)
    body = {"thread_ids": [stepped, thread], "strategy": strategy}
    response = await http.post("/threads/prune", json=body)
    assert response.status_code == 409
    assert thread in detail(response)
    assert stepped not in detail(response)
    assert len(await read(http, f"/threads/{stepped}/history")) == 5
    await http.post(f"/threads/{thread}/runs/{run}/cancel?wait=1")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "thread_ids"),
        ({"thread_ids": UNKNOWN_ID}, "thread_ids"),
        ({"thread_ids": ["odd"]}, "thread_ids.0"),
        ({"thread_ids": [1]}, "thread_ids.0"),
        ({"thread_ids": [UNKNOWN_ID] * 1001}, "thread_ids"),
        ({"thread_ids": [UNKNOWN_ID], "strategy": "some"}, "strategy"),
    ],
)
async def test_invalid_prunes_are_rejected(
    http: httpx.AsyncClient, body: dict[str, Any], problem: str
) -> None:
    response = await http.post("/threads/prune", json=body)
    assert response.status_code == 422
    assert problem in detail(response)


# ── Ttl ─────────────────────────────────────────────────────────────────────────────────────


@covers(ThreadCreate, "ttl")
@covers(ThreadQuery, "include")
async def test_a_ttl_is_returned_and_extended_by_each_use(http: httpx.AsyncClient) -> None:
    thread = (await create(http, ttl={"ttl": 90, "strategy": "keep_latest"}))["thread_id"]
    path = f"/threads/{thread}"
    assert "ttl" not in await read(http, path)
    seen = (await read(http, path, include="ttl"))["ttl"]
    assert (seen["strategy"], seen["ttl_minutes"]) == ("keep_latest", 90)

    async def due() -> datetime:
        thread_read = await read(http, path, include="ttl")
        return datetime.fromisoformat(thread_read["ttl"]["expires_at"])

    first = await due()
    await http.post(f"{path}/runs/wait", json=STEPS)
    second = await due()
    await http.post(f"{path}/state", json={"values": {"items": []}})
    third = await due()
    assert first < second < third
    updated = datetime.fromisoformat((await read(http, path))["updated_at"])
    assert abs((third - updated).total_seconds() - 90 * 60) < 0.01
    copy = (await http.post(f"{path}/copy")).json()["thread_id"]
    assert (await read(http, f"/threads/{copy}", include="ttl"))["ttl"]["ttl_minutes"] == 90
    plain = (await create(http))["thread_id"]
    assert (await read(http, f"/threads/{plain}", include="ttl"))["ttl"] is None


@pytest.mark.parametrize("ttl", [0.002, {"ttl": 0.002}, {"ttl": 0.002, "strategy": "delete"}])
async def test_an_expired_thread_is_deleted(http: httpx.AsyncClient, ttl: Any) -> None:
    thread = (await create(http, ttl=ttl))["thread_id"]

    async def gone() -> bool:
        return (await http.get(f"/threads/{thread}")).status_code == 404

    await until(gone, within=30)


@pytest.mark.parametrize(
    "ttl",
    [0, -1, "5", True, [], {}, {"ttl": "5"}, {"ttl": 0}, {"ttl": 1e12}, {"ttl": 5, "strategy": "x"},
     {"strategy": "delete"}, {"ttl": True}],
)  # fmt: skip
async def test_invalid_ttls_are_rejected(http: httpx.AsyncClient, ttl: Any) -> None:
    response = await http.post("/threads", json={"ttl": ttl})
    assert response.status_code == 422, response.text
    assert "ttl" in detail(response)


async def test_only_the_ttl_can_be_included(http: httpx.AsyncClient, thread: str) -> None:
    response = await http.get(f"/threads/{thread}", params={"include": "everything"})
    assert response.status_code == 422
    assert "include" in detail(response)


def test_every_field_has_an_effect() -> None:
    for model in (ThreadCreate, ThreadQuery, ThreadsPrune):
        assert COVERED_FIELDS[model] == set(model.model_fields), model
