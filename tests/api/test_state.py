"""A thread's state over HTTP: reads at any checkpoint, pages of history, updates and forks."""

import asyncio
from typing import Any

import httpx

from api.requests import STEPS, detail
from api.run_fields import busy
from api.thread_state import COVERED_FIELDS, NO_CHECKPOINT, covers, history, state, update
from millstream.api.threads.state_schemas import (
    HistoryQuery,
    HistoryRequest,
    StateAtCheckpoint,
    StateQuery,
    StateUpdate,
)

# ── Read ────────────────────────────────────────────────────────────────────────────────────


@covers(StateAtCheckpoint, "checkpoint")
async def test_the_state_is_read_at_each_checkpoint(http: httpx.AsyncClient, stepped: str) -> None:
    states = await history(http, stepped)
    assert [s["values"]["items"] for s in states] == [[0, 1, 2], [0, 1], [0], [], []]
    newest = await state(http, stepped)
    assert newest == states[0]
    for values_of in states:
        there = values_of["checkpoint_id"]
        assert await state(http, stepped, f"/{there}") == values_of
        for checkpoint in (
            values_of["checkpoint"],
            {"checkpoint_id": there},
            {"checkpoint_id": there.upper(), "checkpoint_ns": "", "checkpoint_map": None},
        ):
            response = await http.post(
                f"/threads/{stepped}/state/checkpoint", json={"checkpoint": checkpoint}
            )
            assert response.json() == values_of
        parent = values_of["parent_checkpoint"]
        assert (parent and parent["checkpoint_id"]) == values_of["parent_checkpoint_id"]
    assert [s["parent_checkpoint_id"] for s in states[:-1]] == [
        s["checkpoint_id"] for s in states[1:]
    ]


async def test_the_state_at_an_unknown_checkpoint_is_empty(
    http: httpx.AsyncClient, stepped: str
) -> None:
    empty = (await http.post("/threads", json={})).json()["thread_id"]
    for thread in (empty, stepped):
        values_of = await state(http, thread, f"/{NO_CHECKPOINT}")
        assert (values_of["values"], values_of["next"], values_of["tasks"]) == ({}, [], [])
        assert (
            values_of["checkpoint_id"] == values_of["checkpoint"]["checkpoint_id"] == NO_CHECKPOINT
        )
        assert (
            values_of["metadata"]
            is values_of["created_at"]
            is values_of["parent_checkpoint"]
            is None
        )
        assert await history(http, thread, before=NO_CHECKPOINT) == []
        assert await history(http, thread, checkpoint={"checkpoint_ns": "no:such"}) == []
    assert (await state(http, empty))["checkpoint"] is None
    assert await history(http, empty) == []
    assert (await http.get(f"/threads/{empty}/history")).json() == []


@covers(StateQuery, "select")
@covers(StateAtCheckpoint, "select")
@covers(HistoryRequest, "select")
@covers(HistoryQuery, "select")
async def test_select_limits_the_fields_of_a_state(http: httpx.AsyncClient, stepped: str) -> None:
    whole = await state(http, stepped)
    empty = (await http.post("/threads", json={})).json()["thread_id"]
    for select in (["values"], ["next", "metadata"], ["checkpoint_id", "created_at", "tasks"]):
        selected = {field: whole[field] for field in select}
        assert await state(http, stepped, select=",".join(select)) == selected
        assert await state(http, stepped, select=select) == selected
        assert set(await state(http, empty, select=select)) == set(select)
        assert (await history(http, stepped, limit=1, select=select)) == [selected]
        page = await http.get(f"/threads/{stepped}/history", params={"select": select, "limit": 1})
        assert page.json() == [selected]
        body = {"checkpoint": whole["checkpoint"], "select": select}
        response = await http.post(f"/threads/{stepped}/state/checkpoint", json=body)
        assert response.json() == selected
    assert await state(http, stepped, select="values.items,next") == {
        "values": {"items": [0, 1, 2]}, "next": [],
    }  # fmt: skip
    assert await state(http, stepped, select="values.nothing") == {"values": {}}
    assert await state(http, empty, select="values.items") == {"values": {}}


@covers(StateQuery, "subgraphs")
@covers(StateAtCheckpoint, "subgraphs")
async def test_the_states_of_subgraphs_are_read(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "nested", "input": {"text": "x"}}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    there = next(s for s in await history(http, thread) if s["next"] == ["child"])["checkpoint_id"]
    flat = await state(http, thread, f"/{there}")
    deep = await state(http, thread, f"/{there}", subgraphs=True)
    [task], [inner] = flat["tasks"], deep["tasks"]
    assert task["state"] is None
    assert task["checkpoint"]["checkpoint_ns"].startswith(f"{task['name']}:")
    assert inner["state"]["checkpoint"]["checkpoint_ns"] == task["checkpoint"]["checkpoint_ns"]

    response = await http.post(
        f"/threads/{thread}/state/checkpoint", json={"checkpoint": task["checkpoint"]}
    )
    assert response.json()["values"] == inner["state"]["values"]
    assert response.json()["next"] == inner["state"]["next"]
    at = {"checkpoint": flat["checkpoint"], "subgraphs": True}
    response = await http.post(f"/threads/{thread}/state/checkpoint", json=at)
    assert response.json()["tasks"][0]["state"]["values"] == inner["state"]["values"]
    states = await history(http, thread, checkpoint=task["checkpoint"])
    assert {s["checkpoint"]["checkpoint_ns"] for s in states} == {
        task["checkpoint"]["checkpoint_ns"]
    }
    assert states[0]["values"] == inner["state"]["values"]

    # A subgraph's state is updated like the thread's.
    written = await http.post(
        f"/threads/{thread}/state",
        json={"values": {"trail": ["written"]}, "checkpoint": task["checkpoint"]},
    )
    assert written.status_code == 200, written.text
    position = written.json()["checkpoint"]
    assert position["checkpoint_ns"] == task["checkpoint"]["checkpoint_ns"]
    again = await state(http, thread, f"/{there}", subgraphs=True)
    assert again["tasks"][0]["state"]["values"]["trail"] == ["c1", "c2", "written"]
    assert (await http.get(f"/threads/{thread}")).json()["values"] == {"text": "x+pre+c1+c2+post"}


# ── History ─────────────────────────────────────────────────────────────────────────────────


@covers(HistoryQuery, "limit", "before")
@covers(HistoryRequest, "limit", "before", "metadata", "checkpoint")
async def test_a_history_is_paged(http: httpx.AsyncClient, thread: str) -> None:
    body = {**STEPS, "config": {"configurable": {"n": 30}, "recursion_limit": 100}}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    states = await history(http, thread)
    ids = [s["checkpoint_id"] for s in states]
    assert len(ids) > 30
    assert ids == sorted(ids, reverse=True)
    path = f"/threads/{thread}/history"
    assert (await http.get(path)).json() == states[:10]
    assert (await http.get(path, params={"limit": 3})).json() == states[:3]
    assert (await http.post(path, json={})).json() == states[:1]
    assert (await http.post(path)).json() == states[:1]
    for before in (
        ids[4],
        states[4]["checkpoint"],
        {"configurable": states[4]["checkpoint"]},
        {"configurable": {"checkpoint_id": ids[4]}},
    ):
        assert await history(http, thread, before=before, limit=25) == states[5:30]
    assert (await http.get(path, params={"before": ids[4], "limit": 2})).json() == states[5:7]
    assert await history(http, thread, checkpoint=states[3]["checkpoint"]) == [states[3]]
    loops = [s for s in states if s["metadata"]["source"] == "loop"]
    assert await history(http, thread, metadata={"source": "loop"}) == loops
    assert await history(http, thread, metadata={"source": "loop", "step": 3}) == [
        s for s in loops if s["metadata"]["step"] == 3
    ]
    assert await history(http, thread, metadata={"no": "such"}) == []


# ── Write ───────────────────────────────────────────────────────────────────────────────────


@covers(StateUpdate, "values")
async def test_an_update_creates_a_checkpoint(http: httpx.AsyncClient, stepped: str) -> None:
    before = await state(http, stepped)
    record = (await http.get(f"/threads/{stepped}")).json()
    there = await update(http, stepped, values={"items": ["u"]})
    after = await state(http, stepped)
    assert after["checkpoint_id"] == there
    assert after["parent_checkpoint_id"] == before["checkpoint_id"]
    assert after["values"] == {"items": [0, 1, 2, "u"]}
    assert set(after["metadata"]) == {"graph_id", "thread_id", "source", "step", "parents"}
    assert after["metadata"] | {"source": "update", "graph_id": "steps"} == after["metadata"]
    assert after["metadata"]["step"] == before["metadata"]["step"] + 1
    values_of = (await http.get(f"/threads/{stepped}")).json()
    assert values_of["values"] == after["values"]
    assert (values_of["status"], values_of["interrupts"], values_of["error"]) == ("idle", {}, None)
    assert values_of["state_updated_at"] == values_of["updated_at"] > record["updated_at"]
    assert values_of["metadata"] == record["metadata"]

    second = await update(http, stepped, values={"items": ["v"]}, as_node="step")
    assert (await state(http, stepped))["parent_checkpoint_id"] == there
    assert len({there, second}) == 2
    run = await http.post(f"/threads/{stepped}/runs/wait", json=STEPS)
    assert run.json()["items"][:5] == [0, 1, 2, "u", "v"]


@covers(StateUpdate, "as_node")
async def test_an_update_as_a_node_sets_the_next_nodes(web: httpx.AsyncClient, thread: str) -> None:
    await web.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "chain", "input": {}})
    for node, following in {"a": ["b"], "b": ["c"], "c": []}.items():
        await update(web, thread, values={"path": [f"as {node}"]}, as_node=node)
        values_of = await state(web, thread)
        assert values_of["next"] == following
        record = (await web.get(f"/threads/{thread}")).json()
        assert record["status"] == ("interrupted" if following else "idle")
        assert record["values"] == values_of["values"]
    await update(web, thread, values={"path": ["as a"]}, as_node="a")
    body: dict[str, Any] = {"assistant_id": "chain", "input": None}
    went_on = (await web.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert went_on["path"][-3:] == ["as a", "b", "c"]
    await update(web, thread, values={"path": ["as a"]}, as_node="a")
    await update(web, thread, values=None, as_node="__end__")  # no node is next
    assert (await state(web, thread))["next"] == []


async def test_a_resumed_interrupt_is_removed_from_the_state(
    http: httpx.AsyncClient, thread: str
) -> None:
    body: dict[str, Any] = {"assistant_id": "approval", "input": {"topic": "t"}}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    interrupted = (await http.get(f"/threads/{thread}")).json()
    assert interrupted["status"] == "interrupted"
    assert len(interrupted["interrupts"]) == 1
    await update(http, thread, values={"answer": "by hand"}, as_node="ask")
    values_of = (await http.get(f"/threads/{thread}")).json()
    assert (values_of["status"], values_of["interrupts"]) == ("interrupted", {})
    assert (await state(http, thread))["next"] == ["after"] or values_of["values"][
        "answer"
    ] == "by hand"


@covers(StateUpdate, "checkpoint", "checkpoint_id")
async def test_an_update_at_a_checkpoint_forks(http: httpx.AsyncClient, stepped: str) -> None:
    states = await history(http, stepped)
    old = next(s for s in states if s["values"].get("items") == [0])
    for position in (
        {"checkpoint": old["checkpoint"]},
        {"checkpoint_id": old["checkpoint_id"]},
        {"checkpoint": {"checkpoint_ns": ""}, "checkpoint_id": old["checkpoint_id"]},
    ):
        there = await update(http, stepped, values={"items": ["fork"]}, **position)
        values_of = await state(http, stepped)
        assert (values_of["checkpoint_id"], values_of["values"]) == (there, {"items": [0, "fork"]})
        assert values_of["parent_checkpoint_id"] == old["checkpoint_id"]
    checkpoints = await history(http, stepped)
    assert checkpoints[3:] == states  # the existing states are unchanged
    assert (await http.get(f"/threads/{stepped}")).json()["values"] == {"items": [0, "fork"]}


async def test_a_run_starts_from_an_earlier_checkpoint(
    http: httpx.AsyncClient, stepped: str
) -> None:
    states = await history(http, stepped)
    old = next(s for s in states if s["values"].get("items") == [0])
    path = f"/threads/{stepped}/runs/wait"
    for position in ({"checkpoint_id": old["checkpoint_id"]}, {"checkpoint": old["checkpoint"]}):
        answer = await http.post(path, json={"assistant_id": "steps", "input": None, **position})
        assert answer.json() == {"items": [0, 1, 2]}
        answer = await http.post(path, json={**STEPS, "input": {"items": ["in"]}, **position})
        assert answer.json()["items"][:2] == [0, "in"]
    assert (await history(http, stepped))[-len(states) :] == states


async def test_an_update_of_a_busy_thread_is_a_conflict(
    http: httpx.AsyncClient, thread: str
) -> None:
    run = await busy(http, thread)
    waiting = (await http.post(f"/threads/{thread}/runs", json=STEPS)).json()["run_id"]
    before = await history(http, thread)
    response = await http.post(f"/threads/{thread}/state", json={"values": {"items": ["x"]}})
    assert response.status_code == 409
    assert thread in detail(response)
    assert "busy" in detail(response)
    assert (await history(http, thread))[-len(before) :] == before
    for one in (run, waiting):
        await http.post(f"/threads/{thread}/runs/{one}/cancel?wait=1")
    await update(http, thread, values={"items": ["x"]}, as_node="step")


async def test_concurrent_updates_are_all_stored(http: httpx.AsyncClient, stepped: str) -> None:
    async def one(number: int) -> str:
        return await update(http, stepped, values={"items": [f"u{number}"]})

    ids = await asyncio.gather(*(one(n) for n in range(50)))
    assert len(set(ids)) == 50
    states = await history(http, stepped)
    items = states[0]["values"]["items"]
    assert items[:3] == [0, 1, 2]
    assert sorted(items[3:]) == sorted(f"u{n}" for n in range(50))
    assert [s["parent_checkpoint_id"] for s in states[:50]] == [
        s["checkpoint_id"] for s in states[1:51]
    ]
    assert {s["checkpoint_id"] for s in states[:50]} == set(ids)


async def test_concurrent_updates_and_runs_are_all_stored(
    http: httpx.AsyncClient, stepped: str
) -> None:
    path = f"/threads/{stepped}"

    async def write(number: int) -> int:
        body = {"values": {"items": [f"u{number}"]}}
        return (await http.post(f"{path}/state", json=body)).status_code

    async def run() -> int:
        return (await http.post(f"{path}/runs/wait", json=STEPS)).status_code

    answers = await asyncio.gather(*(write(n) if n % 3 else run() for n in range(45)))
    assert set(answers) <= {200, 409}
    items = (await state(http, stepped))["values"]["items"]
    written = [n for n, status in enumerate(answers) if n % 3 and status == 200]
    assert sorted(i for i in items if isinstance(i, str)) == sorted(f"u{n}" for n in written)
    assert [a for n, a in enumerate(answers) if n % 3 == 0] == [200] * 15
    assert (await http.get(path)).json()["values"]["items"] == items


async def test_the_graph_of_a_thread_comes_from_its_metadata(http: httpx.AsyncClient) -> None:
    body = {"metadata": {"graph_id": "steps", "mine": 1}}
    thread = (await http.post("/threads", json=body)).json()["thread_id"]
    assert (await state(http, thread))["checkpoint"] is None
    await update(http, thread, values={"items": ["first"]}, as_node="step")
    values_of = (await http.get(f"/threads/{thread}")).json()
    assert values_of["values"] == {"items": ["first"]}
    assert values_of["metadata"]["graph_id"] == "steps"
    assert len(await history(http, thread)) == 1


def test_every_field_has_an_effect() -> None:
    for model in (StateQuery, StateAtCheckpoint, StateUpdate, HistoryQuery, HistoryRequest):
        assert COVERED_FIELDS[model] == set(model.model_fields), model
