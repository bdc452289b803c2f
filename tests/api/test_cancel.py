"""Cancels of one run and of many, and deletions of runs and threads."""

import re
from typing import Any

import httpx
import pytest

from api.requests import STEPS, UNKNOWN_ID, System, detail, start, status
from golden.normalise import parse_sse
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import connect


async def test_cancel_returns_at_once_or_waits(http: httpx.AsyncClient, thread: str) -> None:
    path = await start(http, thread)
    response = await http.post(f"{path}/cancel?wait=0&action=interrupt")
    assert (response.status_code, response.content) == (202, b"")
    await http.get(f"{path}/join")
    assert await status(http, path) == "interrupted"
    replay = await http.get(f"{path}/stream", headers={"last-event-id": "-1"})
    events = parse_sse(replay.text)
    assert events[-1] == ("end", {"status": "interrupted"})
    assert "error" not in dict(events)

    path = await start(http, thread)
    response = await http.post(f"{path}/cancel", params={"wait": "true"})
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-location"] == path
    assert response.headers["location"] == f"{path}/join"
    assert await status(http, path) == "interrupted"


async def test_a_pending_run_is_cancelled_at_once(http: httpx.AsyncClient, thread: str) -> None:
    first = await start(http, thread)
    body = {**STEPS, "config": {"configurable": {"n": 4}}}
    second = (await http.post(f"/threads/{thread}/runs", json=body)).headers["content-location"]
    later = await http.post("/runs", json={**STEPS, "after_seconds": 1000})
    for path in (second, later.headers["content-location"]):
        assert (await http.post(f"{path}/cancel")).status_code == 202
        assert await status(http, path) == "interrupted"
        stream = await http.get(f"{path}/stream", headers={"last-event-id": "-1"})
        assert parse_sse(stream.text) == [("end", {"status": "interrupted"})]
        assert (await http.get(f"{path}/join")).status_code == 200
    assert await status(http, first) == "running"
    await http.post(f"{first}/cancel?wait=1")
    assert (await http.get(f"/threads/{thread}")).json()["status"] == "interrupted"


async def test_an_ended_or_unknown_run_can_not_be_cancelled(
    http: httpx.AsyncClient, thread: str
) -> None:
    done = (await http.post(f"/threads/{thread}/runs/wait", json=STEPS)).headers["content-location"]
    for wait in (0, 1):
        response = await http.post(f"{done}/cancel?wait={wait}")
        assert response.status_code == 404
        assert detail(response).startswith("No matching runs to cancel.")
        for path in (f"/threads/{thread}/runs/{UNKNOWN_ID}", f"/runs/{UNKNOWN_ID}"):
            response = await http.post(f"{path}/cancel?wait={wait}")
            assert response.status_code == 404
            assert detail(response) == "No runs found to cancel."


async def test_deleting_a_run_removes_it(
    http: httpx.AsyncClient, thread: str, system: System
) -> None:
    base = f"/threads/{thread}/runs"
    done = (await http.post(f"{base}/wait", json=STEPS)).headers["content-location"]
    running = await start(http, thread)
    waiting = (await http.post(base, json=STEPS)).headers["content-location"]
    for path in (done, waiting, running):
        response = await http.delete(path)
        assert (response.status_code, response.content) == (204, b"")
        for tail in ("", "/join", "/stream"):
            assert (await http.get(path + tail)).status_code == 404
        assert (await http.delete(path)).status_code == 404
    assert (await http.get(base)).json() == []
    # The thread continues with its state.
    answer = (await http.post(f"{base}/wait", json=STEPS)).json()
    assert answer["items"][:3] == [0, 1, 2]
    redis = connect(system.fleet.redis_url)
    assert await redis.zcard(keys.runs(thread)) == 1
    await redis.aclose()
    assert (await http.delete(f"/threads/{thread}/runs/{UNKNOWN_ID}")).status_code == 404


async def test_many_runs_are_cancelled_at_once(http: httpx.AsyncClient, thread: str) -> None:
    base = f"/threads/{thread}/runs"
    paths = [await start(http, thread)]
    for _ in range(3):
        created = await http.post(base, json={**STEPS, "after_seconds": 1000})
        paths.append(created.headers["content-location"])
    ids = [path.rpartition("/")[2] for path in paths]

    body: dict[str, Any] = {"thread_id": thread.upper(), "run_ids": [ids[1].upper(), UNKNOWN_ID]}
    response = await http.post("/runs/cancel", json=body)
    assert (response.status_code, response.content) == (204, b"")
    assert await status(http, paths[1]) == "interrupted"
    assert [await status(http, path) for path in paths[2:]] == ["pending"] * 2
    assert (await http.post("/runs/cancel", json={"status": "pending"})).status_code == 204
    assert [await status(http, path) for path in paths[2:]] == ["interrupted"] * 2
    assert await status(http, paths[0]) == "running"
    assert (await http.post("/runs/cancel", json={"status": "all"})).status_code == 204
    await http.get(f"{paths[0]}/join")
    assert await status(http, paths[0]) == "interrupted"

    gone: dict[str, Any] = {"thread_id": thread, "run_ids": ids}
    for body in (gone, {"status": "all"}, {"thread_id": UNKNOWN_ID, "run_ids": [UNKNOWN_ID]}):
        response = await http.post("/runs/cancel", json=body)
        assert response.status_code == 404
        assert detail(response) == "No runs found to cancel."


@pytest.mark.parametrize(
    "body",
    [
        {}, {"status": "all", "thread_id": UNKNOWN_ID}, {"status": "all", "run_ids": [UNKNOWN_ID]},
        {"thread_id": UNKNOWN_ID}, {"run_ids": [UNKNOWN_ID]}, {"thread_id": UNKNOWN_ID, "run_ids": []},
        {"status": "success"}, {"status": None}, {"thread_id": "x", "run_ids": [UNKNOWN_ID]},
        {"thread_id": UNKNOWN_ID, "run_ids": ["x"]}, {"thread_id": UNKNOWN_ID, "run_ids": UNKNOWN_ID},
        {"thread_id": UNKNOWN_ID, "run_ids": [7]},
    ],
)  # fmt: skip
async def test_an_invalid_cancel_of_many_is_422(http: httpx.AsyncClient, body: Any) -> None:
    response = await http.post("/runs/cancel", json=body)
    assert response.status_code == 422
    assert re.search("status|thread_id|run_ids", detail(response))


async def test_deleting_a_thread_ends_its_runs(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}"
    await http.post(f"{path}/runs/wait", json=STEPS)
    run = await start(http, thread)
    waiting = (await http.post(f"{path}/runs", json=STEPS)).headers["content-location"]
    response = await http.delete(path)
    assert (response.status_code, response.content) == (204, b"")
    for gone in (path, f"{path}/state", f"{path}/runs", run, waiting, f"{run}/stream"):
        assert (await http.get(gone)).status_code == 404, gone
    assert (await http.delete(path)).status_code == 404
    assert (await http.post(f"{path}/runs", json=STEPS)).status_code == 404
    # The id is free again, and no old data is left.
    body = {**STEPS, "if_not_exists": "create"}
    assert (await http.post(f"{path}/runs/wait", json=body)).json() == {"items": [0, 1, 2]}
    assert len((await http.get(f"{path}/runs")).json()) == 1


async def reason(http: httpx.AsyncClient, path: str) -> Any:
    run = (await http.get(path)).json()
    [listed] = [
        each
        for each in (
            await http.get(
                f"/threads/{run['thread_id']}/runs?select=run_id,cancel_reason&limit=100"
            )
        ).json()
        if each["run_id"] == run["run_id"]
    ]
    assert listed == {"run_id": run["run_id"], "cancel_reason": run["cancel_reason"]}
    return run["cancel_reason"]


async def test_a_cancelled_run_has_the_reason(http: httpx.AsyncClient, thread: str) -> None:
    done = (await http.post(f"/threads/{thread}/runs/wait", json=STEPS)).headers["content-location"]
    assert await reason(http, done) is None
    running = await start(http, thread)
    assert await reason(http, running) is None
    waiting = (await http.post(f"/threads/{thread}/runs", json=STEPS)).headers["content-location"]
    body = {**STEPS, "multitask_strategy": "interrupt"}
    last = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert last.json()["items"]
    for path in (running, waiting):  # a running run, and a pending run
        assert await status(http, path) == "interrupted"
        assert await reason(http, path) == "superseded"
    assert await reason(http, last.headers["content-location"]) is None

    for wait in (0, 1):
        path = await start(http, thread)
        await http.post(f"{path}/cancel?wait={wait}")
        assert await reason(http, path) == "explicit"
        await http.get(f"{path}/join")
        assert await reason(http, path) == "explicit"
    # The first reason stays after later cancels.
    path = await start(http, thread)
    await http.post(f"{path}/cancel")
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert await reason(http, path) == "explicit"
    path = await start(http, thread)
    await http.post("/runs/cancel", json={"thread_id": thread, "run_ids": [path.split("/")[-1]]})
    assert await reason(http, path) == "explicit"


@pytest.mark.parametrize("way", ["stream", "wait", "join", "join_stream"])
async def test_a_run_cancelled_by_disconnect_has_the_reason(
    http: httpx.AsyncClient, thread: str, way: str
) -> None:
    body = {"assistant_id": "slow", "input": {"items": []}, "on_disconnect": "cancel"}
    if way in ("stream", "wait"):
        followed = http.stream("POST", f"/threads/{thread}/runs/{way}", json=body)
    else:
        path = await start(http, thread)
        verb = "join" if way == "join" else "stream"
        followed = http.stream("GET", f"{path}/{verb}?cancel_on_disconnect=true")
    async with followed as response:
        path = response.headers["content-location"]

    async def ended() -> bool:
        return await status(http, path) == "interrupted"

    await until(ended)
    assert await reason(http, path) == "disconnect"
