"""The routes of the Agent Protocol: agents, searches and waits of runs, and events at its own paths."""

import json
import uuid
from typing import Any

import httpx
import pytest

from api.requests import STEPS, UNKNOWN_ID, System, detail, start
from api.thread_state import COVERED_FIELDS, covers
from harness.event_stream import start as start_by_command
from harness.waiting import until
from millstream.api.agent_protocol.schemas import AgentSearch, RunSearch
from millstream.shared.assistants import default_assistant_id

CHAT = default_assistant_id("chat")


# ── Agents ──────────────────────────────────────────────────────────────────────────────────


@covers(AgentSearch, "name", "metadata")
async def test_agents_are_searched(http: httpx.AsyncClient) -> None:
    names = (await http.post("/agents/search", json={"name": "CHAT"})).json()
    assert {agent["name"] for agent in names} == {"chat", "nested_chat"}
    [chat] = [agent for agent in names if agent["name"] == "chat"]
    assert chat == {
        "agent_id": CHAT,
        "name": "chat",
        "description": "",
        "metadata": {"created_by": "system"},
        "capabilities": {"ap.io.streaming": True, "ap.io.messages": True},
    }
    assert (await http.get(f"/agents/{CHAT}")).json() == chat
    assert (await http.get("/agents/chat")).json() == chat
    mark = {"mark": str(uuid.uuid4())}
    agent_fields = {"graph_id": "steps", "metadata": mark, "description": "counts"}
    mine = (await http.post("/assistants", json=agent_fields)).json()["assistant_id"]
    [created] = (await http.post("/agents/search", json={"metadata": mark})).json()
    assert (created["agent_id"], created["description"]) == (mine, "counts")
    assert created["capabilities"] == {"ap.io.streaming": True, "ap.io.messages": False}
    await http.delete(f"/assistants/{mine}")
    assert (await http.get(f"/agents/{mine}")).status_code == 404


@covers(AgentSearch, "limit", "offset")
async def test_agents_are_listed_in_pages(http: httpx.AsyncClient) -> None:
    whole = (await http.post("/agents/search", json={"limit": 1000})).json()
    page = await http.post("/agents/search", json={"limit": 2, "offset": 1})
    assert page.json() == whole[1:3]
    assert page.headers["x-pagination-total"] == str(len(whole))
    assert page.headers["x-pagination-next"] == "3"
    assert (await http.post("/agents/search")).status_code == 200
    assert (await http.post("/agents/search", json={"limit": 0})).status_code == 422


async def test_an_agent_has_its_schemas(http: httpx.AsyncClient) -> None:
    for name in ("chat", CHAT):
        output = (await http.get(f"/agents/{name}/schemas")).json()
        assert set(output) == {
            "agent_id", "input_schema", "output_schema", "state_schema", "config_schema",
        }  # fmt: skip
        assert output["agent_id"] == CHAT
        assert "messages" in output["input_schema"]["properties"]


@pytest.mark.parametrize("agent", ["nope", UNKNOWN_ID, "%00", "a b"])
async def test_an_unknown_agent_is_404(http: httpx.AsyncClient, agent: str) -> None:
    for path in (f"/agents/{agent}", f"/agents/{agent}/schemas"):
        response = await http.get(path)
        assert response.status_code == 404
        assert "not found" in detail(response)


# ── Runs ────────────────────────────────────────────────────────────────────────────────────


async def finished(http: httpx.AsyncClient, thread: str, **fields: Any) -> str:
    run = (await http.post(f"/threads/{thread}/runs", json={**STEPS, **fields})).json()["run_id"]
    await http.get(f"/threads/{thread}/runs/{run}/join")
    return str(run)


async def names(http: httpx.AsyncClient, **query: Any) -> list[str]:
    response = await http.post("/runs/search", json=query)
    assert response.status_code == 200, response.text
    return [run["run_id"] for run in response.json()]


@covers(RunSearch, "thread_id", "status", "agent_id", "metadata", "limit", "offset")
async def test_runs_of_a_thread_are_searched(http: httpx.AsyncClient, thread: str) -> None:
    runs = [await finished(http, thread, metadata={"n": n, "odd": n % 2 == 1}) for n in range(3)]
    broken = await finished(http, thread, assistant_id="boom")
    newest = [broken, *reversed(runs)]
    assert await names(http, thread_id=thread) == newest
    assert await names(http, thread_id=thread, status="error") == [broken]
    assert await names(http, thread_id=thread, status="success") == newest[1:]
    assert await names(http, thread_id=thread, status="pending") == []
    for agent in ("boom", default_assistant_id("boom")):
        assert await names(http, thread_id=thread, agent_id=agent) == [broken]
    assert await names(http, thread_id=thread, metadata={"odd": True}) == [runs[1]]
    assert await names(http, thread_id=thread, metadata={"odd": False}) == [runs[2], runs[0]]
    assert await names(http, thread_id=thread, limit=1, offset=1) == [runs[2]]
    assert await names(http, thread_id=thread, metadata={"odd": False}, offset=1) == [runs[0]]
    assert await names(http, thread_id=thread, offset=9) == []
    [listed] = (await http.post("/runs/search", json={"thread_id": thread, "limit": 1})).json()
    run = (await http.get(f"/threads/{thread}/runs/{broken}")).json()
    assert listed == {**run, "agent_id": run["assistant_id"]}


async def test_live_runs_of_all_threads_are_searched(http: httpx.AsyncClient, thread: str) -> None:
    mark = {"mark": str(uuid.uuid4())}
    path = await start(http, thread, metadata=mark)
    running = path.rpartition("/")[2]
    waiting = (
        await http.post(f"/threads/{thread}/runs", json={**STEPS, "metadata": mark})
    ).json()["run_id"]  # fmt: skip
    assert await names(http, status="running", metadata=mark) == [running]
    assert await names(http, status="pending", metadata=mark) == [waiting]
    assert await names(http, status="pending", metadata=mark, agent_id="slow") == []
    await http.post(f"{path}/cancel", params={"wait": 1})
    await http.get(f"/threads/{thread}/runs/{waiting}/join")
    assert await names(http, status="running", metadata=mark) == []


@pytest.mark.parametrize(
    ("query", "status", "problem"),
    [
        ({}, 422, "thread_id, status"),
        ({"status": "success"}, 422, "thread_id, status"),
        ({"metadata": {"a": 1}, "agent_id": "steps"}, 422, "thread_id, status"),
        ({"thread_id": "x"}, 422, "thread_id"),
        ({"thread_id": UNKNOWN_ID}, 404, "not found"),
        ({"status": "loud"}, 422, "status"),
        ({"status": "running", "agent_id": "nope"}, 422, "nope"),
        ({"status": "running", "limit": 1001}, 422, "limit"),
        ({"status": "running", "metadata": []}, 422, "metadata"),
    ],
)
async def test_invalid_searches_are_rejected(
    http: httpx.AsyncClient, query: dict[str, Any], status: int, problem: str
) -> None:
    response = await http.post("/runs/search", json=query)
    assert response.status_code == status
    assert problem in detail(response)


async def test_wait_returns_the_output_of_a_run(http: httpx.AsyncClient, thread: str) -> None:
    hello = [{"role": "user", "content": "hello"}]
    body = {"agent_id": "chat", "messages": hello, "config": {"configurable": {"words": 2}}}
    run = (await http.post("/runs", json=body)).json()
    assert run["assistant_id"] == CHAT
    output = (await http.get(f"/runs/{run['run_id']}/wait")).json()
    assert output["run"]["status"] == "success"
    assert output["run"]["agent_id"] == CHAT
    assert output["run"]["run_id"] == run["run_id"]
    assert [message["role"] for message in output["messages"]] == ["user", "assistant"]
    assert "messages" not in output["values"]
    path = f"/threads/{thread}/runs"
    steps = (await http.post(path, json=STEPS)).json()["run_id"]
    output = (await http.get(f"{path}/{steps}/wait")).json()
    assert output["values"] == {"items": [0, 1, 2]}
    assert "messages" not in output
    failed = (await http.post("/runs", json={**STEPS, "assistant_id": "boom"})).json()["run_id"]
    output = (await http.get(f"/runs/{failed}/wait")).json()
    assert output["run"]["status"] == "error"
    assert output["values"]["__error__"]["error"] == "ValueError"
    assert (await http.get(f"/runs/{UNKNOWN_ID}/wait")).status_code == 404


async def test_a_wait_sends_keepalives_and_may_cancel_the_run(
    http: httpx.AsyncClient, thread: str
) -> None:
    path = await start(http, thread)
    async with http.stream("GET", f"{path}/wait", params={"cancel_on_disconnect": 1}) as response:
        assert response.headers["location"].startswith(f"{path}/wait")
        assert await anext(response.aiter_bytes()) == b"\n"

    async def stopped() -> bool:
        return bool((await http.get(path)).json()["status"] == "interrupted")

    await until(stopped)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"thread_id": UNKNOWN_ID}, "thread_id"),
        ({"messages": [], "input": "text"}, "messages, input"),
        ({"agent_id": 7}, "assistant_id"),
        ({"agent_id": "nope"}, "nope"),
    ],
)
async def test_an_invalid_run_of_an_agent_is_rejected(
    http: httpx.AsyncClient, more: dict[str, Any], problem: str
) -> None:
    response = await http.post("/runs/wait", json={"agent_id": "steps", **more})
    assert response.status_code == 422
    assert problem in detail(response)


# ── Events ──────────────────────────────────────────────────────────────────────────────────


async def test_events_are_at_the_protocols_path(
    system: System, http: httpx.AsyncClient, thread: str
) -> None:
    run = await start_by_command(http, thread, "steps")
    await http.get(f"/threads/{thread}/runs/{run}/join")
    seen: dict[str, list[Any]] = {}
    for path in (f"/threads/{thread}/stream", f"/threads/{thread}/stream/events"):
        seen[path] = []
        async with http.stream("POST", path, json={"channels": ["values"]}) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    seen[path].append(json.loads(line.removeprefix("data: ")))
                    if len(seen[path]) == 4:
                        break
    one, two = seen.values()
    assert one == two
    response = await http.post(f"/threads/{thread}/stream", json={"channels": []})
    assert response.status_code == 400


async def test_generative_ui_components_are_not_served(http: httpx.AsyncClient) -> None:
    response = await http.post("/ui/chat", json={"name": "weather"})
    assert response.status_code == 404
    assert "LoadExternalComponent" in detail(response)


def test_every_field_is_tested() -> None:
    for model in (AgentSearch, RunSearch):
        assert COVERED_FIELDS[model] == set(model.model_fields)
