"""A thread is read, updated and drawn with the graph of its run; exceptions of factories are reported."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from harness.waiting import until
from millstream.shared.assistants import default_assistant_id

STRICT = {"configurable": {"mode": "strict"}}
INPUT = {"input": {"v": 0}}


@pytest.fixture(autouse=True)
async def _no_assistants_left(web: httpx.AsyncClient) -> AsyncIterator[None]:
    """Deletes the assistants of each test, because tests of other files count assistants."""
    yield
    for existing in (await web.post("/assistants/search", json={"limit": 100})).json():
        if existing["metadata"] != {"created_by": "system"}:
            await web.delete(f"/assistants/{existing['assistant_id']}")


async def assistant(web: httpx.AsyncClient, graph: str, **fields: Any) -> str:
    created = await web.post("/assistants", json={"graph_id": graph, **fields})
    return str(created.json()["assistant_id"])


async def run(web: httpx.AsyncClient, thread: str, name: str, **fields: Any) -> dict[str, Any]:
    answer = await web.post(
        f"/threads/{thread}/runs/wait", json={"assistant_id": name, **INPUT, **fields}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body, dict)
    return body


async def asks(web: httpx.AsyncClient, thread: str, mode: str) -> None:
    """Fails unless each route reads the thread with the graph of that mode."""
    state = (await web.get(f"/threads/{thread}/state")).json()
    assert state["next"] == [f"ask_{mode}"]
    assert [each["value"] for each in state["interrupts"]] == [f"{mode}?"]
    there = state["checkpoint"]
    at = await web.post(f"/threads/{thread}/state/checkpoint", json={"checkpoint": there})
    assert at.json()["next"] == [f"ask_{mode}"]
    [newest] = (await web.post(f"/threads/{thread}/history", json={"limit": 1})).json()
    assert newest["next"] == [f"ask_{mode}"]
    assert newest["tasks"][0]["interrupts"]
    within = (await web.get(f"/threads/{thread}/state", params={"subgraphs": True})).json()
    assert within["tasks"][0]["name"] == f"ask_{mode}"


@pytest.mark.parametrize("where", ["assistant", "assistant's context", "run", "run's context"])
@pytest.mark.parametrize("graph", ["shaped", "strict"])
async def test_a_thread_is_read_with_the_config_of_its_run(
    web: httpx.AsyncClient, thread: str, where: str, graph: str
) -> None:
    run_fields: dict[str, Any] = (
        {"context": {"mode": "strict"}} if "context" in where else {"config": STRICT}
    )
    if where.startswith("assistant"):
        await run(web, thread, await assistant(web, graph, **run_fields))
    else:
        await run(web, thread, graph, **run_fields)
    await asks(web, thread, "strict")
    body = {"values": {"v": "by hand"}, "as_node": "ask_strict"}
    updated = await web.post(f"/threads/{thread}/state", json=body)
    assert updated.status_code == 200, updated.text
    state = (await web.get(f"/threads/{thread}/state")).json()
    assert state["values"] == {"v": "by hand"}
    assert state["next"] == []


async def test_a_checkpoint_is_read_and_forked_with_its_runs_graph(
    web: httpx.AsyncClient, thread: str
) -> None:
    await run(web, thread, "strict", config=STRICT)
    there = (await web.get(f"/threads/{thread}/state")).json()["checkpoint"]
    await run(web, thread, "strict", config={"configurable": {"mode": "other"}})
    await asks(web, thread, "other")
    old = f"/threads/{thread}/state/{there['checkpoint_id']}"
    assert (await web.get(old)).json()["next"] == ["ask_strict"]
    body = {"values": {"v": "forked"}, "as_node": "__start__", "checkpoint": there}
    forked = await web.post(f"/threads/{thread}/state", json=body)
    assert forked.status_code == 200, forked.text
    newest = (await web.get(f"/threads/{thread}/state")).json()
    assert (newest["values"], newest["next"]) == ({"v": "forked"}, ["ask_strict"])


async def test_changing_or_deleting_an_assistant_changes_no_thread(
    web: httpx.AsyncClient, thread: str
) -> None:
    name = await assistant(web, "strict", config=STRICT)
    await run(web, thread, name)
    other = {"config": {"configurable": {"mode": "other"}}}
    assert (await web.patch(f"/assistants/{name}", json=other)).status_code == 200
    await asks(web, thread, "strict")
    await web.delete(f"/assistants/{name}")
    await asks(web, thread, "strict")


async def test_an_update_keeps_the_threads_assistant(web: httpx.AsyncClient, thread: str) -> None:
    name = await assistant(web, "shaped", config=STRICT)
    await run(web, thread, name)
    await web.post(f"/threads/{thread}/state", json={"values": {"v": 1}, "as_node": "ask_strict"})
    record = (await web.get(f"/threads/{thread}")).json()
    assert record["metadata"] == {"graph_id": "shaped", "assistant_id": name}


async def test_a_copied_thread_and_a_thread_without_its_run_keep_the_graph(
    web: httpx.AsyncClient, thread: str
) -> None:
    await run(web, thread, "strict", config=STRICT)
    copy = (await web.post(f"/threads/{thread}/copy")).json()["thread_id"]
    [record] = (await web.get(f"/threads/{thread}/runs")).json()
    await web.delete(f"/threads/{thread}/runs/{record['run_id']}")
    await asks(web, thread, "strict")
    await web.delete(f"/threads/{thread}")
    await asks(web, copy, "strict")


async def test_a_pending_or_rolled_back_run_does_not_change_the_graph(
    web: httpx.AsyncClient, thread: str
) -> None:
    await run(web, thread, "shaped", config=STRICT)
    later = {"assistant_id": "shaped", **INPUT, "config": {"configurable": {"mode": "later"}}}
    path = f"/threads/{thread}/runs"
    waiting = (await web.post(path, json={**later, "after_seconds": 3600})).json()["run_id"]
    await asks(web, thread, "strict")
    params: dict[str, Any] = {"action": "rollback", "wait": True}
    await web.post(f"{path}/{waiting}/cancel", params=params)
    await asks(web, thread, "strict")
    await run(web, thread, "shaped", config={"configurable": {"mode": "newest"}})
    await asks(web, thread, "newest")


async def test_the_newest_run_decides_the_graph_even_without_a_config(
    web: httpx.AsyncClient, thread: str
) -> None:
    await run(web, thread, "shaped", config=STRICT)
    await run(web, thread, "shaped")
    await asks(web, thread, "plain")


async def test_a_seeded_thread_has_its_assistants_graph(
    web: httpx.AsyncClient,
) -> None:
    name = await assistant(web, "strict", config=STRICT)
    steps = [{"updates": [{"values": {"v": 1}, "as_node": "__input__"}]}]
    thread = str(uuid.uuid4())
    body = {
        "thread_id": thread,
        "metadata": {"graph_id": "strict", "assistant_id": name},
        "supersteps": steps,
    }
    created = await web.post("/threads", json=body)
    assert created.status_code == 200, created.text
    assert (await web.get(f"/threads/{thread}/state")).json()["next"] == ["__start__"]
    body = {"values": {"v": 2}, "as_node": "ask_strict"}
    updated = await web.post(f"/threads/{thread}/state", json=body)
    assert updated.status_code == 200, updated.text


# ── Schemas and pictures ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("run_fields", [{"config": STRICT}, {"context": {"mode": "strict"}}])
async def test_the_graph_of_an_assistant_is_drawn(
    web: httpx.AsyncClient, run_fields: dict[str, Any]
) -> None:
    name = await assistant(web, "strict", **run_fields)
    drawn = (await web.get(f"/assistants/{name}/graph", params={"xray": True})).json()
    assert "ask_strict" in [node["id"] for node in drawn["nodes"]]
    schemas = (await web.get(f"/assistants/{name}/schemas")).json()
    assert schemas["input_schema"]["properties"].keys() == {"v"}
    assert (await web.get(f"/assistants/{name}/subgraphs")).json() == {}


async def test_a_factory_gets_config_and_runtime(web: httpx.AsyncClient, thread: str) -> None:
    name = await assistant(web, "informed", context={"colour": "red", "mode": "m"})
    passed = (await run(web, thread, name))["v"]
    expected = {
        "access": "threads.create_run", "colour": "red", "user": None, "mode": "m",
        "assistant_id": name, "thread_id": thread,
    }  # fmt: skip
    assert passed == expected

    async def check_access(access: str, **changes: Any) -> None:
        item = await web.get("/store/items", params={"namespace": "factories", "key": "told"})
        assert item.json()["value"] == {**expected, "access": access, "colour": None, **changes}

    await web.get(f"/threads/{thread}/state")
    await check_access("threads.read")
    await web.post(f"/threads/{thread}/history", json={})
    await check_access("threads.read")
    body = {"values": {"v": 1}, "as_node": "threads_update"}
    assert (await web.post(f"/threads/{thread}/state", json=body)).status_code == 200
    await check_access("threads.update")
    for path in ("schemas", "graph", "subgraphs"):
        await web.get(f"/assistants/{name}/{path}")
        await check_access("assistants.read", thread_id=None)


# ── What a factory raises ───────────────────────────────────────────────────────────────────


async def test_an_exception_of_a_factory_is_the_response(
    web: httpx.AsyncClient, thread: str
) -> None:
    failed = (await run(web, thread, "strict"))["__error__"]
    assert failed["error"] == "KeyError"
    assert "'mode'" in failed["message"]
    state, default = f"/threads/{thread}/state", default_assistant_id("strict")
    seeded = {"graph_id": "strict", "supersteps": [{"updates": [{"values": {"v": 1}}]}]}
    for method, path, body in (
        ("GET", state, None),
        ("POST", f"{state}/checkpoint", {"checkpoint": {"checkpoint_id": str(uuid.uuid4())}}),
        ("POST", state, {"values": {"v": 1}, "as_node": "ask_strict"}),
        ("POST", f"/threads/{thread}/history", {}),
        ("POST", "/threads", seeded),
        ("GET", f"/assistants/{default}/schemas", None),
        ("GET", f"/assistants/{default}/graph", None),
        ("GET", f"/assistants/{default}/subgraphs", None),
    ):
        answer = await web.request(method, path, json=body)
        assert answer.status_code == 424, (path, answer.text)
        check_access = f"The factory of graph 'strict' failed: KeyError: {failed['message']}"
        assert answer.json() == {"detail": check_access}, path


async def test_a_failing_factory_hides_no_other_tool_or_agent(
    web: httpx.AsyncClient,
) -> None:
    accept = {"accept": "application/json, text/event-stream"}
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    listed = await web.post("/mcp/", json=body, headers=accept)
    for name in ("strict", "shaped", "chat"):
        assert f'"name":"{name}"' in listed.text.replace(": ", ":")
    message = {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "x"}]}
    body |= {"method": "SendMessage", "params": {"message": message}}
    answer = await web.post("/a2a/strict", json=body, headers={"a2a-version": "1.0"})
    assert answer.status_code == 200, answer.text
    assert "The factory of graph 'strict' failed: KeyError" in answer.json()["error"]["message"]


async def test_a_run_after_a_failed_factory_can_succeed(
    web: httpx.AsyncClient, thread: str
) -> None:
    await run(web, thread, "strict")
    await run(web, thread, "strict", config=STRICT)

    async def waits() -> bool:
        return bool((await web.get(f"/threads/{thread}")).json()["status"] == "interrupted")

    await until(waits)
    await asks(web, thread, "strict")
