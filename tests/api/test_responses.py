"""Responses: the JSON of runs, threads and states, and final outputs."""

import json
import re
import uuid
from typing import Any

import httpx
import pytest

from api.requests import STEPS, UNKNOWN_ID, detail, start
from golden.normalise import parse_sse
from harness.waiting import until
from millstream.shared.assistants import default_assistant_id

# The reference's keys.
RUN = {
    "run_id", "thread_id", "assistant_id", "metadata", "status", "kwargs", "multitask_strategy",
    "created_at", "updated_at", "langsmith_session_name", "cancel_reason",
}  # fmt: skip
KWARGS = {
    "input", "command", "config", "context", "stream_mode", "interrupt_before", "interrupt_after",
    "webhook", "feedback_keys", "temporary", "subgraphs", "resumable", "checkpoint_during",
    "durability", "strict_resume", "langsmith_tracer",
}  # fmt: skip
THREAD = {  # in the reference a thread without a run has no `error` and no `interrupts`; here it has both
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config",
    "values", "interrupts", "error",
}  # fmt: skip
STATE = {
    "values", "next", "tasks", "metadata", "created_at", "checkpoint", "parent_checkpoint",
    "interrupts", "checkpoint_id", "parent_checkpoint_id",
}  # fmt: skip
TASK = {"id", "name", "path", "error", "interrupts", "checkpoint", "state", "result"}
CHECKPOINT = {"checkpoint_id", "thread_id", "checkpoint_ns"}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"


# ── Runs ────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_has_the_references_keys(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}/runs"
    body = {**STEPS, "config": {"configurable": {"n": 2}}, "metadata": {"k": "v"}}
    created = (await http.post(path, json=body)).json()
    await http.get(f"{path}/{created['run_id']}/join")
    got = (await http.get(f"{path}/{created['run_id']}")).json()
    for run in (created, got):
        assert set(run) == RUN
        assert set(run["kwargs"]) == KWARGS
        assert uuid.UUID(run["run_id"])
        assert run["thread_id"] == thread
    steps = default_assistant_id("steps")
    assert created["metadata"] == {
        "created_by": "system", "graph_id": "steps", "assistant_id": steps, "k": "v",
    }  # fmt: skip
    ids = {
        "run_id": created["run_id"], "thread_id": thread, "graph_id": "steps", "assistant_id": steps,
    }  # fmt: skip
    assert created["kwargs"] == {
        "input": {"items": []},
        "command": None,
        "config": {"configurable": {"n": 2, **ids}, "metadata": created["metadata"]},
        "context": {"n": 2},
        "stream_mode": ["values"],
        "interrupt_before": None,
        "interrupt_after": None,
        "webhook": None,
        "feedback_keys": None,
        "temporary": False,
        "subgraphs": False,
        "resumable": False,
        "checkpoint_during": True,
        "durability": "async",
        "strict_resume": False,
        "langsmith_tracer": None,
    }
    assert (created["status"], got["status"]) == ("pending", "success")
    assert created["created_at"] == created["updated_at"] == got["created_at"] < got["updated_at"]
    assert re.fullmatch(TIME, got["updated_at"])


async def test_runs_are_listed_newest_first(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}/runs"
    runs: list[str] = []
    for graph in ("steps", "boom", "steps", "boom", "steps"):
        response = await http.post(f"{path}/wait", json={**STEPS, "assistant_id": graph})
        runs.append(response.headers["content-location"].rpartition("/")[2])
    newest = runs[::-1]

    async def listed(query: str) -> list[str]:
        return [run["run_id"] for run in (await http.get(f"{path}?{query}")).json()]

    assert await listed("") == newest
    assert await listed("limit=2") == newest[:2]
    assert await listed("limit=2&offset=1") == newest[1:3]
    assert await listed("offset=4") == newest[4:]
    assert await listed("offset=5") == []
    assert await listed("status=error") == [newest[1], newest[3]]
    assert await listed("status=error&limit=1&offset=1") == [newest[3]]
    assert await listed("status=success&offset=1") == [newest[2], newest[4]]
    assert await listed("status=timeout") == []
    for select in (
        "select=run_id,status",
        "select=run_id&select=status",
        "select[]=run_id&select[]=status",
    ):
        rows = (await http.get(f"{path}?{select}&limit=1")).json()
        assert rows == [{"run_id": newest[0], "status": "success"}]
    [row] = (await http.get(f"{path}?limit=1")).json()
    assert set(row) == RUN
    for number in range(7):
        await http.post(path, json={**STEPS, "metadata": {"n": number}})
    assert len(await listed("")) == 10  # the default limit
    assert (await http.get(f"/threads/{UNKNOWN_ID}/runs")).status_code == 404


# ── Threads ─────────────────────────────────────────────────────────────────────────────────


async def test_a_thread_has_the_references_keys(http: httpx.AsyncClient) -> None:
    created = (await http.post("/threads", json={"metadata": {"k": [1]}})).json()
    assert set(created) == THREAD
    assert created["created_at"] == created["updated_at"] == created["state_updated_at"]
    rest = {name: created[name] for name in THREAD if not name.endswith("_at")}
    assert rest == {
        "thread_id": created["thread_id"], "metadata": {"k": [1]}, "status": "idle", "config": {},
        "values": None, "interrupts": {}, "error": None,
    }  # fmt: skip
    assert (await http.get(f"/threads/{created['thread_id']}")).json() == created
    assert (await http.post("/threads")).json()["metadata"] == {}

    await http.post(f"/threads/{created['thread_id']}/runs/wait", json=STEPS)
    after = (await http.get(f"/threads/{created['thread_id']}")).json()
    assert set(after) == THREAD
    assert after["values"] == {"items": [0, 1, 2]}
    assert after["config"] == {"configurable": {}}
    assert after["metadata"] == {
        "k": [1], "graph_id": "steps", "assistant_id": default_assistant_id("steps"),
    }  # fmt: skip
    assert after["created_at"] == created["created_at"] < after["state_updated_at"]


async def test_an_existing_thread_is_a_conflict_or_returned(
    http: httpx.AsyncClient, thread: str
) -> None:
    again = {"thread_id": thread.upper(), "metadata": {"other": 1}}
    response = await http.post("/threads", json=again)
    assert response.status_code == 409
    assert detail(response) == f"Thread with ID {thread} already exists"
    response = await http.post("/threads", json={**again, "if_exists": "do_nothing"})
    assert response.json() == (await http.get(f"/threads/{thread}")).json()
    assert response.json()["metadata"] == {}


async def test_a_thread_with_a_failed_run_has_its_error(
    http: httpx.AsyncClient, thread: str
) -> None:
    body = {"assistant_id": "boom", "input": {"items": []}}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    record = (await http.get(f"/threads/{thread}")).json()
    assert record["status"] == "error"
    assert record["error"] == {"error": "ValueError", "message": "boom"}
    assert record["values"] == {"items": ["ok"]}
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["next"] == ["boom"]
    [task] = state["tasks"]
    assert set(task) == TASK
    # The next successful run clears it.
    await http.post(f"/threads/{thread}/runs/wait", json=STEPS)
    record = (await http.get(f"/threads/{thread}")).json()
    assert (record["status"], record["error"]) == ("idle", None)


async def test_the_error_of_a_failed_task_is_its_repr(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "boom", "input": {"items": []}}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    [task] = (await http.get(f"/threads/{thread}/state")).json()["tasks"]
    assert task["error"] == "ValueError('boom')"


# ── State ───────────────────────────────────────────────────────────────────────────────────


async def test_the_state_of_an_empty_thread_is_empty(http: httpx.AsyncClient, thread: str) -> None:
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state == {
        "values": {}, "next": [], "tasks": [], "metadata": None, "created_at": None,
        "checkpoint": None, "parent_checkpoint": None, "interrupts": [], "checkpoint_id": None,
        "parent_checkpoint_id": None,
    }  # fmt: skip


async def test_the_state_after_a_chat_has_the_references_keys(
    http: httpx.AsyncClient, thread: str
) -> None:
    body = {"assistant_id": "chat", "input": {"messages": [{"role": "user", "content": "hi"}]}}
    output = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert set(state) == STATE
    assert state["values"] == output
    assert (await http.get(f"/threads/{thread}")).json()["values"] == output
    assert [message["type"] for message in output["messages"]] == ["human", "ai"]
    assert (state["next"], state["tasks"], state["interrupts"]) == ([], [], [])
    for name in ("checkpoint", "parent_checkpoint"):
        assert set(state[name]) == CHECKPOINT
        assert state[name]["thread_id"] == thread
        assert state[name]["checkpoint_ns"] == ""
        assert (
            state[f"{name.removesuffix('checkpoint')}checkpoint_id"]
            == (state[name]["checkpoint_id"])
        )
    assert {"source", "step", "parents"} <= set(state["metadata"])
    assert state["created_at"].endswith("+00:00")


async def test_the_state_at_an_interrupt_has_its_task(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "approval", "input": {"topic": "t"}}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["values"] == {"topic": "t", "log": ["before"]}
    assert state["next"] == ["ask"]
    [task] = state["tasks"]
    assert set(task) == TASK
    [interrupt] = state["interrupts"]
    assert interrupt == {"id": interrupt["id"], "value": {"question": "approve t?"}}
    assert task["interrupts"] == [interrupt]
    assert task["path"] == ["__pregel_pull", "ask"]
    assert [task[name] for name in ("error", "checkpoint", "state", "result")] == [None] * 4
    record = (await http.get(f"/threads/{thread}")).json()
    assert record["status"] == "interrupted"
    assert record["interrupts"] == {task["id"]: [interrupt]}
    body = {"assistant_id": "approval", "command": {"resume": "yes"}}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    record = (await http.get(f"/threads/{thread}")).json()
    assert (record["status"], record["interrupts"]) == ("idle", {})


async def test_the_state_of_subgraphs_is_nested(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "nested", "input": {"text": ""}, "interrupt_before": ["child"]}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    flat = (await http.get(f"/threads/{thread}/state")).json()
    deep = (await http.get(f"/threads/{thread}/state?subgraphs=true")).json()
    for state in (flat, deep):
        assert set(state) == STATE
        assert state["next"] == ["child"]
        [task] = state["tasks"]
        assert set(task) == TASK
        assert task["name"] == "child"
    assert flat["values"] == deep["values"] == {"text": "+pre"}


# ── What wait and join answer with ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("graph", "graph_input", "expected"),
    [
        ("steps", {"items": []}, {"items": [0, 1, 2]}),
        ("boom", {"items": []}, {"__error__": {"error": "ValueError", "message": "boom"}}),
        ("nested", {"text": ""}, {"text": "+pre+c1+c2+post"}),
    ],
)
@pytest.mark.parametrize("stateless", [False, True])
async def test_wait_and_join_return_the_final_output(
    http: httpx.AsyncClient,
    thread: str,
    graph: str,
    graph_input: Any,
    expected: Any,
    stateless: bool,
) -> None:
    base = "/runs" if stateless else f"/threads/{thread}/runs"
    body = {"assistant_id": graph, "input": graph_input, "stream_mode": "updates"}
    response = await http.post(f"{base}/wait", json=body)
    assert response.status_code == 200
    assert response.json() == expected
    run = (await http.post(base, json=body)).headers["content-location"]
    joined = await http.get(f"{run}/join")
    assert joined.status_code == 200
    assert list(joined.json()) == list(expected)
    assert (await http.get(f"{run}/join")).content.strip() == joined.content.strip()


async def test_the_output_at_an_interrupt_has_the_interrupts(
    http: httpx.AsyncClient, thread: str
) -> None:
    body = {"assistant_id": "approval", "input": {"topic": "t"}}
    response = await http.post(f"/threads/{thread}/runs/wait", json=body)
    output = response.json()
    [interrupt] = output.pop("__interrupt__")
    assert output == {"topic": "t", "log": ["before"]}
    assert interrupt == {
        "value": {"question": "approve t?"}, "id": interrupt["id"], "response_schema": None,
    }  # fmt: skip
    assert (await http.get(response.headers["location"])).json() == response.json()


async def test_the_output_of_a_cancelled_run_is_its_state(
    http: httpx.AsyncClient, thread: str
) -> None:
    path = await start(http, thread)

    async def started() -> bool:
        text = (await http.get(f"/threads/{thread}/state")).text
        return "started" in text

    await until(started)
    assert (await http.post(f"{path}/cancel?wait=1")).json() == {}
    assert (await http.get(f"{path}/join")).json() == {"items": ["started"]}
    record = (await http.get(f"/threads/{thread}")).json()
    assert (record["status"], record["error"]["error"]) == ("interrupted", "UserInterrupt")


# ── Events ──────────────────────────────────────────────────────────────────────────────────


async def test_events_and_record_agree(http: httpx.AsyncClient, thread: str) -> None:
    response = await http.post(f"/threads/{thread}/runs/stream", json=STEPS)
    lines = response.text.split("\r\n")
    assert "\n" not in "".join(lines)
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
    assert len(ids) == len(set(ids)) == len(parse_sse(response.text))
    assert ids == sorted(ids, key=lambda message_id: [int(part) for part in message_id.split("-")])
    assert all(json.loads(line[6:]) for line in lines if line.startswith("data: "))
