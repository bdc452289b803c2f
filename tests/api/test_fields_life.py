"""Every field of a run request has an effect: on the start and the end of the run."""

import uuid
from datetime import datetime
from typing import Any

import httpx
import pytest

from api.run_fields import busy, covers, status
from harness.event_stream import follow
from harness.waiting import until


@covers("on_disconnect")
@pytest.mark.parametrize(
    ("option", "ends"), [("cancel", "interrupted"), ("continue", "success"), (None, "interrupted")]
)
async def test_on_disconnect_decides_whether_a_disconnect_cancels(
    http: httpx.AsyncClient, thread: str, option: str | None, ends: str
) -> None:
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "config": {"configurable": {"n": 10, "delay": 0.05}},
        "on_disconnect": option,
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


@covers("on_completion")
@pytest.mark.parametrize(
    ("option", "expected_status"), [("delete", 404), ("keep", 200), (None, 404)]
)
async def test_on_completion_decides_whether_the_thread_stays(
    http: httpx.AsyncClient, option: str | None, expected_status: int
) -> None:
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "on_completion": option,
    }
    response = await http.post("/runs/wait", json=body)
    thread = response.headers["content-location"].split("/")[2]
    fetched = await http.get(f"/threads/{thread}")
    assert fetched.status_code == expected_status
    state = await http.get(f"/threads/{thread}/state")
    assert state.status_code == expected_status
    if expected_status == 200:
        assert fetched.json()["values"] == state.json()["values"] == {"items": [0, 1, 2]}


@covers("multitask_strategy")
async def test_multitask_strategy_reject_returns_409(http: httpx.AsyncClient, thread: str) -> None:
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


@covers("multitask_strategy")
@pytest.mark.parametrize("option", ["enqueue", None])
async def test_multitask_strategy_enqueue_waits(
    http: httpx.AsyncClient, thread: str, option: str | None
) -> None:
    path = f"/threads/{thread}/runs"
    first = await busy(http, thread)
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "multitask_strategy": option,
    }
    waiting = [(await http.post(path, json=body)).json() for _ in range(2)]
    for run in waiting:
        assert run["multitask_strategy"] == "enqueue"
        assert await status(http, thread, run["run_id"]) == "pending"
    await http.post(f"{path}/{first}/cancel")
    answers = [(await http.get(f"{path}/{run['run_id']}/join")).json() for run in waiting]
    assert answers == [{"items": ["started", 1, 2]}, {"items": ["started", 1, 2, 3]}]


@covers("multitask_strategy")
@pytest.mark.parametrize("option", ["interrupt", "rollback"])
async def test_multitask_strategies_interrupt_and_rollback_displace(
    http: httpx.AsyncClient, thread: str, option: str
) -> None:
    path = f"/threads/{thread}/runs"
    first = await busy(http, thread)

    async def started() -> bool:
        return "started" in (await http.get(f"/threads/{thread}/state")).text

    await until(started)
    body = {"assistant_id": "steps", "input": {"items": []}, "multitask_strategy": option}
    answer = (await http.post(f"{path}/wait", json=body)).json()
    runs = {run["run_id"]: run for run in (await http.get(path)).json()}
    if option == "interrupt":  # the items of the first run stay
        assert answer == {"items": ["started", 1, 2]}
        assert runs.pop(first)["status"] == "interrupted"
    else:
        assert answer == {"items": [0, 1, 2]}
    [run] = runs.values()
    assert (run["status"], run["multitask_strategy"]) == ("success", option)


@covers("if_not_exists")
async def test_if_not_exists_decides_about_a_missing_thread(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "steps", "input": {"items": []}}
    for option in ("reject", None):
        path = f"/threads/{uuid.uuid4()}/runs/wait"
        response = await http.post(path, json={**body, "if_not_exists": option})
        assert response.status_code == 404
    thread = str(uuid.uuid4())
    path = f"/threads/{thread}/runs/wait"
    response = await http.post(path, json={**body, "if_not_exists": "create"})
    assert response.json() == {"items": [0, 1, 2]}
    assert (await http.get(f"/threads/{thread}")).json()["status"] == "idle"
    response = await http.post("/runs/wait", json={**body, "if_not_exists": "create"})
    assert response.json() == {"items": [0, 1, 2]}


@covers("after_seconds")
async def test_after_seconds_delays_a_run(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}/runs"
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}, "after_seconds": 0.5}
    later = (await http.post(path, json=body)).json()
    assert await status(http, thread, later["run_id"]) == "pending"
    # Meanwhile it delays no other run.
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


@covers("durability", "checkpoint_during")
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
async def test_durability_decides_when_checkpoints_are_written(
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
    # The checkpoints of the first run, read by a second run that writes none before its end.
    again = {"assistant_id": "probe", "input": {"question": 2}, "durability": "exit"}
    assert (await web.post(f"{path}/wait", json=again)).json()["checkpoints"] == after
