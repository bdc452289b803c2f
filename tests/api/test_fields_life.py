"""Every field of a run request does something that can be seen: when it runs and how it ends."""

import uuid
from datetime import datetime
from typing import Any

import httpx
import pytest

from api.run_fields import busy, shows, status
from harness.event_stream import follow
from harness.waiting import until


@shows("on_disconnect")
@pytest.mark.parametrize(
    ("given", "ends"), [("cancel", "interrupted"), ("continue", "success"), (None, "interrupted")]
)
async def test_a_client_that_leaves(
    http: httpx.AsyncClient, thread: str, given: str | None, ends: str
) -> None:
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "config": {"configurable": {"n": 10, "delay": 0.05}},
        "on_disconnect": given,
    }
    path = f"/threads/{thread}/runs/stream"
    async with http.stream("POST", path, json=body) as response:
        async for line in response.aiter_lines():
            if line == "event: values":
                break
        run = response.headers["content-location"].rpartition("/")[2]

    async def ended() -> bool:
        return await status(http, thread, run) not in ("pending", "running")

    await until(ended)
    assert await status(http, thread, run) == ends


@shows("on_completion")
@pytest.mark.parametrize(("given", "kept"), [("delete", 404), ("keep", 200), (None, 404)])
async def test_the_thread_of_a_stateless_run(
    http: httpx.AsyncClient, given: str | None, kept: int
) -> None:
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}, "on_completion": given}
    response = await http.post("/runs/wait", json=body)
    thread = response.headers["content-location"].split("/")[2]
    shown = await http.get(f"/threads/{thread}")
    assert shown.status_code == kept
    state = await http.get(f"/threads/{thread}/state")
    assert state.status_code == kept
    if kept == 200:
        assert shown.json()["values"] == state.json()["values"] == {"items": [0, 1, 2]}


@shows("multitask_strategy")
async def test_reject(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}/runs"
    first = await busy(http, thread)
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "multitask_strategy": "reject",
    }
    for tail in ("", "/stream", "/wait"):
        response = await http.post(path + tail, json=body)
        assert response.status_code == 409
        assert response.json() == {
            "detail": "Thread is already running a task. Wait for it to finish or choose a "
            "different multitask strategy."
        }
    assert await status(http, thread, first) == "running"
    assert len((await http.get(path)).json()) == 1
    assert (await http.post(f"{path}/{first}/cancel?wait=1")).status_code == 200
    response = await http.post(f"{path}/wait", json=body)
    assert response.json() == {"items": ["started", 1, 2]}
    assert (await http.get(path)).json()[0]["multitask_strategy"] == "reject"


@shows("multitask_strategy")
@pytest.mark.parametrize("given", ["enqueue", None])
async def test_enqueue(http: httpx.AsyncClient, thread: str, given: str | None) -> None:
    path = f"/threads/{thread}/runs"
    first = await busy(http, thread)
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "multitask_strategy": given,
    }
    waiting = [(await http.post(path, json=body)).json() for _ in range(2)]
    for run in waiting:
        assert run["multitask_strategy"] == "enqueue"
        assert await status(http, thread, run["run_id"]) == "pending"
    await http.post(f"{path}/{first}/cancel")
    answers = [(await http.get(f"{path}/{run['run_id']}/join")).json() for run in waiting]
    assert answers == [{"items": ["started", 1, 2]}, {"items": ["started", 1, 2, 3]}]


@shows("multitask_strategy")
@pytest.mark.parametrize("given", ["interrupt", "rollback"])
async def test_interrupt_and_rollback(http: httpx.AsyncClient, thread: str, given: str) -> None:
    path = f"/threads/{thread}/runs"
    first = await busy(http, thread)

    async def started() -> bool:
        return "started" in (await http.get(f"/threads/{thread}/state")).text

    await until(started)
    body = {"assistant_id": "steps", "input": {"items": []}, "multitask_strategy": given}
    answer = (await http.post(f"{path}/wait", json=body)).json()
    runs = {run["run_id"]: run for run in (await http.get(path)).json()}
    if given == "interrupt":  # what the first did stays
        assert answer == {"items": ["started", 1, 2]}
        assert runs.pop(first)["status"] == "interrupted"
    else:
        assert answer == {"items": [0, 1, 2]}
    [run] = runs.values()
    assert (run["status"], run["multitask_strategy"]) == ("success", given)


@shows("if_not_exists")
async def test_a_thread_that_is_not_there(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "steps", "input": {"items": []}}
    for given in ("reject", None):
        path = f"/threads/{uuid.uuid4()}/runs/wait"
        response = await http.post(path, json={**body, "if_not_exists": given})
        assert response.status_code == 404
    thread = str(uuid.uuid4())
    path = f"/threads/{thread}/runs/wait"
    response = await http.post(path, json={**body, "if_not_exists": "create"})
    assert response.json() == {"items": [0, 1, 2]}
    assert (await http.get(f"/threads/{thread}")).json()["status"] == "idle"
    response = await http.post("/runs/wait", json={**body, "if_not_exists": "create"})
    assert response.json() == {"items": [0, 1, 2]}


@shows("after_seconds")
async def test_a_run_that_starts_later(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}/runs"
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}, "after_seconds": 0.5}
    later = (await http.post(path, json=body)).json()
    assert await status(http, thread, later["run_id"]) == "pending"
    # It holds up nobody meanwhile.
    del body["after_seconds"]
    answer = (await http.post(f"{path}/wait", json=body)).json()
    assert answer == {"items": [0, 1, 2]}
    assert await status(http, thread, later["run_id"]) == "pending"
    async with follow(http, thread, ["lifecycle"]) as following:
        events = await following.ended(2)
    admitted = (await http.get(f"{path}/{later['run_id']}")).json()["created_at"]
    begun = events[2]["params"]["timestamp"] / 1000
    assert 0.499 <= begun - datetime.fromisoformat(admitted).timestamp() < 10
    assert await status(http, thread, later["run_id"]) == "success"


@shows("durability", "checkpoint_during")
@pytest.mark.parametrize(
    ("fields", "recorded", "during", "after"),
    [
        ({"durability": "sync"}, "sync", 3, 4),
        ({"durability": "async"}, "async", None, 4),
        ({"durability": "exit"}, "exit", 0, 1),
        ({}, "async", None, 4),
        ({"checkpoint_during": False}, "exit", 0, 1),
        ({"checkpoint_during": True}, "async", None, 4),
        ({"checkpoint_during": False, "durability": "sync"}, "sync", 3, 4),
    ],
)
async def test_when_checkpoints_are_written(
    web: httpx.AsyncClient,
    thread: str,
    fields: dict[str, Any],
    recorded: str,
    during: int | None,
    after: int,
) -> None:
    path = f"/threads/{thread}/runs"
    body = {"assistant_id": "probe", "input": {"question": 1}, **fields}
    answer = (await web.post(f"{path}/wait", json=body)).json()
    if during is not None:
        assert answer["checkpoints"] == during
    [run] = (await web.get(path)).json()
    assert run["kwargs"]["durability"] == recorded
    assert run["kwargs"]["checkpoint_during"] is (recorded != "exit")
    # What the first run left, seen by a second one that writes nothing before its end.
    again = {"assistant_id": "probe", "input": {"question": 2}, "durability": "exit"}
    assert (await web.post(f"{path}/wait", json=again)).json()["checkpoints"] == after
