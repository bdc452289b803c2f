"""No door brings a run an entry that the server alone sets: its user, its ids, LangGraph's internals."""

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from api.crons import YEARLY
from api.requests import System
from api.user_api import HEADER, serve_users
from harness.event_stream import send
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import Client, connect

pytestmark = pytest.mark.usefixtures("fields_worker")

GRAPH = "user_echo"
FORGED = "forged"
USER: dict[str, Any] = {
    "langgraph_auth_user": {"identity": FORGED},
    "langgraph_auth_user_id": FORGED,
    "langgraph_auth_permissions": [FORGED],
}
INTERNAL: dict[str, Any] = {
    "langgraph_request_id": FORGED,
    "__langsmith_project__": FORGED,
    "__request_start_time_ms__": FORGED,
    "__after_seconds__": FORGED,
    "__pregel_scratchpad": FORGED,
    "__pregel_checkpointer": FORGED,
    "__millstream_private": FORGED,
}
IDS = dict.fromkeys(("thread_id", "graph_id", "assistant_id", "cron_id"), FORGED)
ENTRIES = {**USER, **INTERNAL, **IDS, "run_id": FORGED}
# Metadata of a run has scalars alone.
METADATA = dict.fromkeys(ENTRIES, FORGED)
BODY: dict[str, Any] = {
    "config": {"configurable": ENTRIES, "metadata": METADATA, **USER, **INTERNAL, **IDS},
    "metadata": METADATA,
}
# Apart: an empty `configurable` gets its entries. Ids in a context are the graph's business.
CONTEXT: dict[str, Any] = {"context": {**USER, **INTERNAL, "level": 1}}
RUN: dict[str, Any] = {"assistant_id": GRAPH, "input": {}}


@pytest.fixture
async def users(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A client of Alice, of an API that passes on all headers."""
    async with serve_users(system.fleet.redis_url) as client:
        client.headers[HEADER] = "alice"
        yield client


@pytest.fixture
async def redis(system: System) -> AsyncIterator[Client]:
    client = connect(system.fleet.redis_url)
    yield client
    await client.aclose()


async def ok(response: Awaitable[httpx.Response]) -> Any:
    """Returns the JSON of a response."""
    answer = await response
    assert answer.status_code == 200, answer.text
    return answer.json()


async def new_thread(users: httpx.AsyncClient) -> str:
    return str((await ok(users.post("/threads", json={})))["thread_id"])


async def newest(users: httpx.AsyncClient, thread: str) -> tuple[Any, ...]:
    """Returns what the thread's newest run was given and has stored, once it has ended."""

    async def ended() -> Any:
        rows = (await users.get(f"/threads/{thread}/runs")).json()
        return rows and rows[0]["status"] not in ("pending", "running") and rows[0]

    run = await until(ended, what="the end of the run")
    history = await ok(users.get(f"/threads/{thread}/history"))
    return run, history[0]["values"]["seen"], history


# ── The doors: each has a run of `user_echo` executed, with the entries wherever it takes some ──

Door = Callable[[httpx.AsyncClient, str, Client], Awaitable[Any]]


async def run_of_a_thread(users: httpx.AsyncClient, thread: str, _: Client) -> None:
    await ok(users.post(f"/threads/{thread}/runs/wait", json={**RUN, **BODY}))


async def context_of_a_run(users: httpx.AsyncClient, thread: str, _: Client) -> None:
    await ok(users.post(f"/threads/{thread}/runs/wait", json={**RUN, **CONTEXT}))


async def headers(users: httpx.AsyncClient, thread: str, _: Client) -> None:
    sent = {**dict.fromkeys(ENTRIES, FORGED), "checkpoint_ns": FORGED, "checkpoint_id": FORGED}
    await ok(users.post(f"/threads/{thread}/runs/wait", json=RUN, headers=sent))


async def command_run_start(users: httpx.AsyncClient, thread: str, _: Client) -> None:
    params = {**RUN, **BODY, "input": {"messages": []}}
    reply = await send(users, thread, {"id": 1, "method": "run.start", "params": params})
    assert reply["type"] == "success", reply


async def command_input_respond(users: httpx.AsyncClient, thread: str, _: Client) -> None:
    await ok(
        users.post(f"/threads/{thread}/runs/wait", json={**RUN, **BODY, "input": {"ask": True}})
    )
    paused = await ok(users.get(f"/threads/{thread}/state"))
    answer = {"interrupt_id": paused["interrupts"][0]["id"], "response": "yes", **BODY}
    reply = await send(users, thread, {"id": 1, "method": "input.respond", "params": answer})
    assert reply["type"] == "success", reply


async def resume_by_a_command(users: httpx.AsyncClient, thread: str, _: Client) -> None:
    await ok(users.post(f"/threads/{thread}/runs/wait", json={**RUN, "input": {"ask": True}}))
    command = {"resume": "yes", "update": {"ask": True}, "config": ENTRIES}
    body = {"assistant_id": GRAPH, "command": command, **BODY}
    await ok(users.post(f"/threads/{thread}/runs/wait", json=body))


async def assistant(users: httpx.AsyncClient, thread: str, _: Client) -> None:
    body = {"graph_id": GRAPH, **BODY, "config": {"configurable": ENTRIES, "metadata": METADATA}}
    created = await ok(users.post("/assistants", json=body))
    run = {"assistant_id": created["assistant_id"], "input": {}}
    await ok(users.post(f"/threads/{thread}/runs/wait", json=run))
    await users.delete(f"/assistants/{created['assistant_id']}")


async def patched_assistant(users: httpx.AsyncClient, thread: str, _: Client) -> None:
    created = await ok(users.post("/assistants", json={"graph_id": GRAPH}))
    path = f"/assistants/{created['assistant_id']}"
    await ok(users.patch(path, json={**CONTEXT, "metadata": METADATA}))
    run = {"assistant_id": created["assistant_id"], "input": {}}
    await ok(users.post(f"/threads/{thread}/runs/wait", json=run))
    await users.delete(path)


async def cron(users: httpx.AsyncClient, thread: str, redis: Client) -> None:
    await ok(users.patch(f"/threads/{thread}", json={"metadata": {"owner": "alice"}}))
    body = {**RUN, "schedule": YEARLY}
    created = await ok(users.post(f"/threads/{thread}/runs/crons", json={**body, **BODY}))
    path = f"/runs/crons/{created['cron_id']}"
    # Bob changes it: it stays Alice's.
    await ok(users.patch(path, json=BODY, headers={HEADER: "bob"}))
    await redis.zadd(keys.crons(), {created["cron_id"]: 1.0}, xx=True)
    run, seen, _ = await newest(users, thread)
    assert run["metadata"]["cron_id"] == created["cron_id"] == seen["configurable"]["cron_id"]
    await users.delete(path)


async def a2a_message(users: httpx.AsyncClient, thread: str, _: Client) -> None:
    message = {
        "kind": "message", "messageId": str(uuid.uuid4()), "role": "user", "contextId": thread,
        "parts": [{"kind": "text", "text": "hi", "metadata": ENTRIES}, {"kind": "data", "data": ENTRIES}],
        "metadata": ENTRIES,
    }  # fmt: skip
    params = {"message": message, "metadata": ENTRIES, "configuration": {"metadata": ENTRIES}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": params}
    reply = await ok(users.post(f"/a2a/{GRAPH}", json=body))
    assert "result" in reply, reply


DOORS: list[Door] = [
    run_of_a_thread, context_of_a_run, headers, command_run_start, command_input_respond,
    resume_by_a_command, assistant, patched_assistant, cron, a2a_message,
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
async def test_a_door_brings_no_entry_of_the_server(
    users: httpx.AsyncClient, redis: Client, door: Door
) -> None:
    thread = await new_thread(users)
    await door(users, thread, redis)
    run, seen, history = await newest(users, thread)
    assert seen["user"]["id"] == "alice"
    assert seen["user"]["fields"]["identity"] == "alice"
    assert seen["configurable"]["thread_id"] == run["thread_id"] == thread
    assert FORGED not in json.dumps([run["metadata"], run["kwargs"]["config"]])
    assert FORGED not in json.dumps([seen, run["kwargs"]["context"]])
    assert FORGED not in json.dumps([state["metadata"] for state in history])


async def test_batches_and_tools_of_mcp_bring_none(users: httpx.AsyncClient) -> None:
    runs = await ok(users.post("/runs/batch", json=[{**RUN, **BODY, "on_completion": "keep"}] * 2))
    for created in runs:
        _, seen, history = await newest(users, created["thread_id"])
        assert seen["user"]["id"] == "alice"
        assert FORGED not in json.dumps([seen, history])
    params = {
        "name": GRAPH,
        "arguments": {"messages": []},
        **CONTEXT,
        "config": ENTRIES,
        "_meta": ENTRIES,
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    accept = {"accept": "application/json, text/event-stream"}
    called = await users.post("/mcp/", json=body, headers=accept)
    assert called.status_code == 200, called.text
    assert "alice" in called.text
    assert FORGED not in called.text


async def test_updates_of_a_thread_and_its_state_bring_none(users: httpx.AsyncClient) -> None:
    body = {"metadata": {"graph_id": GRAPH}, "config": ENTRIES, "configurable": ENTRIES}
    thread = (await ok(users.post("/threads", json=body)))["thread_id"]
    await ok(users.patch(f"/threads/{thread}", json={"config": ENTRIES}))
    update = {
        "values": {"ask": False}, "as_node": "look", "config": {"configurable": ENTRIES},
        "checkpoint": {**USER, **INTERNAL, "thread_id": thread}, "metadata": METADATA,
    }  # fmt: skip
    await ok(users.post(f"/threads/{thread}/state", json=update))
    await ok(users.post(f"/threads/{thread}/runs/wait", json={**RUN, "input": None}))
    await ok(users.post(f"/threads/{thread}/runs/wait", json=RUN))
    _, seen, history = await newest(users, thread)
    assert seen["user"]["id"] == "alice"
    assert FORGED not in json.dumps([seen, history])


async def test_a_config_does_not_redirect_a_run_to_another_thread(users: httpx.AsyncClient) -> None:
    victim = await new_thread(users)
    run = {"assistant_id": "steps", "input": {"items": ["secret"]}}
    await ok(users.post(f"/threads/{victim}/runs/wait", json=run))
    before = await ok(users.get(f"/threads/{victim}/state"))
    checkpoint = before["checkpoint"]
    for name in ("configurable", "context", "top level"):
        thread = await new_thread(users)
        entries = {
            "thread_id": victim, "checkpoint_id": checkpoint["checkpoint_id"], "checkpoint_ns": "",
            "checkpoint_map": {"": checkpoint["checkpoint_id"]},
        }  # fmt: skip
        carried = {
            "configurable": {"config": {"configurable": {**entries, "run_id": FORGED}}},
            "context": {"context": entries},
            "top level": {"config": entries},
        }[name]
        body = {"assistant_id": "steps", "input": {"items": []}, **carried}
        output = await users.post(f"/threads/{thread}/runs/wait", json=body)
        assert "secret" not in output.text
        assert output.json().get("items") in ([0, 1, 2], None)
    assert await ok(users.get(f"/threads/{victim}/state")) == before
