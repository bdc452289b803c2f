"""Graphs that cancel themselves or have unusual names, and requests with unusual ids and namespaces."""

from typing import Any

import pytest

from e2e.conftest import Cluster, NodeLog, Thread, request
from e2e.raw_http import HEARTBEAT, call_api, parse

pytestmark = pytest.mark.xdist_group("worker_cluster")


@pytest.fixture
async def thread(worker_cluster: Cluster) -> Thread:
    worker_cluster.ready_workers(1)
    return await Thread.create(worker_cluster.url)


@pytest.mark.parametrize("graph", ["cancelled_factory", "cancelled_node"])
async def test_a_graph_that_cancels_itself_fails(
    worker_cluster: Cluster, thread: Thread, graph: str
) -> None:
    [worker] = worker_cluster.ready_workers(1, limit=1)
    async with await thread.stream(graph) as response:
        _, run_id = response.ids
        events = await response.events()
    assert [event.name for event in events][-2:] == ["error", "end"]
    assert events[-2].data["error"].endswith("CancelledError")
    assert events[-1].data == {"status": "error"}
    assert (await thread.run(run_id))["status"] == "error"
    assert await thread.status() == "error"
    # The worker does not take it for its own cancel: it executes further runs.
    for _ in range(3):
        assert await thread.ended(await thread.start("track")) == "success"
    assert worker.process.poll() is None


async def test_a_factory_that_cancels_itself_fails_the_state_request(
    worker_cluster: Cluster, thread: Thread
) -> None:
    [worker] = worker_cluster.ready_workers(1, limit=1)
    await thread.ended(await thread.start("cancelled_factory"))
    for _ in range(10):  # more than there are slots for calls
        status, body = await call_api(worker_cluster.url, "GET", f"/threads/{thread.id}/state")
        assert (status, "cancelled itself" in body["detail"]) == (424, True)
    await thread.ended(await thread.start("track"))
    assert (await call_api(worker_cluster.url, "GET", f"/threads/{thread.id}/state"))[0] == 200
    assert worker.process.poll() is None


async def test_an_event_name_is_one_line(thread: Thread) -> None:
    request_fields: dict[str, Any] = {
        "configurable": {"sizes": [1]},
        "stream_mode": ["values", "updates", "custom", "tasks"],
        "stream_subgraphs": True,
    }
    async with await thread.stream("lines", **request_fields) as response:
        _, run_id = response.ids
        raw = await response.rest()
    fields = [line.partition(b": ")[0] for line in raw.replace(HEARTBEAT, b"").split(b"\r\n")]
    events = parse(raw)
    assert fields == [b"event", b"data", b"id", b""] * len(events) + [b""]
    assert not any(line_end in line for line in raw.split(b"\r\n") for line_end in (b"\r", b"\n"))
    names = {event.name.partition(":")[0] for event in events}
    assert names >= {f"{mode}|two  lines" for mode in ("values", "updates", "custom", "tasks")}
    # The data has the unchanged name.
    [update] = [event.data for event in events if event.name == "updates"]
    assert list(update) == ["two\r\nlines"]
    assert await thread.replay(run_id) == events


async def test_an_event_id_from_the_future_is_the_newest(thread: Thread, log: NodeLog) -> None:
    knobs = {"log": str(log)}
    async with await thread.stream("gate", configurable=knobs, stream_mode="custom") as response:
        _, run_id = response.ids
        before = await response.until_events(3, "custom")
        ahead = [
            await thread.join(run_id, last)
            for last in ("9999999999999-0", f"{'9' * 19}-{'9' * 19}", f"{before[-1].id}")
        ]
        for other in ahead:
            await other.until_heartbeat()
        late = await thread.join(run_id, "-1")
        log.open_gate()
        events = await response.events()
    new = events[len(before) :]
    assert [event.name for event in new] == ["custom", "end"]
    for other in ahead:
        assert await other.events() == new
        await other.close()
    assert await late.events() == events
    await late.close()
    # After the newest event of an ended run comes only its end.
    async with await thread.join(run_id, "9999999999999-0") as again:
        assert [event.name for event in await again.events()] == ["end"]


@pytest.mark.parametrize("where", ["context", "configurable", "both"])
async def test_reserved_config_entries_are_dropped(
    worker_cluster: Cluster, thread: Thread, where: str
) -> None:
    reserved = {
        f"__pregel_{name}": {"x": 1} for name in ("send", "read", "checkpointer", "runtime")
    }
    request_fields = {**reserved, "mine": 1}
    body = request("track", configurable=request_fields if where != "context" else {})
    if where != "configurable":
        body["context"] = request_fields
    status, run = await call_api(worker_cluster.url, "POST", thread.runs_path, body)
    assert status == 200
    assert run["kwargs"]["context"] == {"mine": 1}
    view = run["kwargs"]["config"]["configurable"]
    assert view["mine"] == 1
    assert not [key for key in view if key.startswith("__")]
    assert await thread.ended(run["run_id"]) == "success"


@pytest.mark.parametrize("way", ["checkpoint", "configurable"])
async def test_a_client_supplied_namespace_does_not_prevent_a_resume(
    worker_cluster: Cluster, thread: Thread, way: str
) -> None:
    namespace = {"checkpoint_ns": "elsewhere"}
    odd = {"checkpoint": namespace} if way == "checkpoint" else {"configurable": namespace}
    body = request("approval", input={"topic": "it"}, **odd)
    _, paused = await call_api(worker_cluster.url, "POST", f"{thread.runs_path}/wait", body)
    assert paused["__interrupt__"][0]["value"] == {"question": "approve it?"}
    status, view = await call_api(worker_cluster.url, "GET", f"/threads/{thread.id}")
    assert (status, view["status"]) == (200, "interrupted")
    [[interrupt]] = view["interrupts"].values()
    assert interrupt["value"] == {"question": "approve it?"}
    assert view["values"] == {"topic": "it", "log": ["before"]}
    body = {**request("approval", **odd), "input": None, "command": {"resume": "yes"}}
    status, values = await call_api(worker_cluster.url, "POST", f"{thread.runs_path}/wait", body)
    assert (status, values["log"]) == (200, ["before", "ask", "after"])
    assert await thread.status() == "idle"
