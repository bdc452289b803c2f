"""A thread is read, written and drawn with the graph that its run was made of; what a factory raises is told."""

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
    """Takes away the assistants of each test: those of other files count them."""
    yield
    for found in (await web.post("/assistants/search", json={"limit": 100})).json():
        if found["metadata"] != {"created_by": "system"}:
            await web.delete(f"/assistants/{found['assistant_id']}")


async def assistant(web: httpx.AsyncClient, graph: str, **fields: Any) -> str:
    made = await web.post("/assistants", json={"graph_id": graph, **fields})
    return str(made.json()["assistant_id"])


async def run(web: httpx.AsyncClient, thread: str, name: str, **fields: Any) -> dict[str, Any]:
    answer = await web.post(
        f"/threads/{thread}/runs/wait", json={"assistant_id": name, **INPUT, **fields}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body, dict)
    return body


async def asks(web: httpx.AsyncClient, thread: str, mode: str) -> None:
    """Checks that the thread is read with the graph of that mode, wherever it is read."""
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
async def test_whoever_brought_the_config(
    web: httpx.AsyncClient, thread: str, where: str, graph: str
) -> None:
    given: dict[str, Any] = (
        {"context": {"mode": "strict"}} if "context" in where else {"config": STRICT}
    )
    if where.startswith("assistant"):
        await run(web, thread, await assistant(web, graph, **given))
    else:
        await run(web, thread, graph, **given)
    await asks(web, thread, "strict")
    body = {"values": {"v": "by hand"}, "as_node": "ask_strict"}
    updated = await web.post(f"/threads/{thread}/state", json=body)
    assert updated.status_code == 200, updated.text
    state = (await web.get(f"/threads/{thread}/state")).json()
    assert state["values"] == {"v": "by hand"}
    assert state["next"] == []


async def test_a_checkpoint_is_read_and_forked_with_the_graph_of_its_run(
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


async def test_an_assistant_that_changes_or_goes_changes_no_thread(
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


async def test_a_copy_and_a_thread_without_its_run(web: httpx.AsyncClient, thread: str) -> None:
    await run(web, thread, "strict", config=STRICT)
    copy = (await web.post(f"/threads/{thread}/copy")).json()["thread_id"]
    [record] = (await web.get(f"/threads/{thread}/runs")).json()
    await web.delete(f"/threads/{thread}/runs/{record['run_id']}")
    await asks(web, thread, "strict")
    await web.delete(f"/threads/{thread}")
    await asks(web, copy, "strict")


async def test_a_run_that_has_not_begun_or_was_undone_changes_nothing(
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


async def test_the_newest_run_counts_also_without_a_config(
    web: httpx.AsyncClient, thread: str
) -> None:
    await run(web, thread, "shaped", config=STRICT)
    await run(web, thread, "shaped")
    await asks(web, thread, "plain")


async def test_a_thread_that_begins_with_supersteps_has_its_assistants_graph(
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
    made = await web.post("/threads", json=body)
    assert made.status_code == 200, made.text
    assert (await web.get(f"/threads/{thread}/state")).json()["next"] == ["__start__"]
    body = {"values": {"v": 2}, "as_node": "ask_strict"}
    updated = await web.post(f"/threads/{thread}/state", json=body)
    assert updated.status_code == 200, updated.text


# ── Schemas and pictures ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("given", [{"config": STRICT}, {"context": {"mode": "strict"}}])
async def test_an_assistants_graph_is_shown(web: httpx.AsyncClient, given: dict[str, Any]) -> None:
    name = await assistant(web, "strict", **given)
    drawn = (await web.get(f"/assistants/{name}/graph", params={"xray": True})).json()
    assert "ask_strict" in [node["id"] for node in drawn["nodes"]]
    schemas = (await web.get(f"/assistants/{name}/schemas")).json()
    assert schemas["input_schema"]["properties"].keys() == {"v"}
    assert (await web.get(f"/assistants/{name}/subgraphs")).json() == {}


async def test_what_a_factory_is_told(web: httpx.AsyncClient, thread: str) -> None:
    name = await assistant(web, "informed", context={"colour": "red", "mode": "m"})
    run_told = (await run(web, thread, name))["v"]
    expected = {
        "access": "threads.create_run", "colour": "red", "user": None, "mode": "m",
        "assistant_id": name, "thread_id": thread,
    }  # fmt: skip
    assert run_told == expected

    async def told(access: str, **changes: Any) -> None:
        item = await web.get("/store/items", params={"namespace": "factories", "key": "told"})
        assert item.json()["value"] == {**expected, "access": access, "colour": None, **changes}

    await web.get(f"/threads/{thread}/state")
    await told("threads.read")
    await web.post(f"/threads/{thread}/history", json={})
    await told("threads.read")
    body = {"values": {"v": 1}, "as_node": "threads_update"}
    assert (await web.post(f"/threads/{thread}/state", json=body)).status_code == 200
    await told("threads.update")
    for path in ("schemas", "graph", "subgraphs"):
        await web.get(f"/assistants/{name}/{path}")
        await told("assistants.read", thread_id=None)


# ── What a factory raises ───────────────────────────────────────────────────────────────────


async def test_what_a_factory_raises_is_the_answer(web: httpx.AsyncClient, thread: str) -> None:
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
        told = f"The factory of graph 'strict' failed: KeyError: {failed['message']}"
        assert answer.json() == {"detail": told}, path


async def test_a_factory_that_fails_takes_no_tool_and_no_agent_from_others(
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


async def test_a_run_that_its_factory_failed_can_be_followed_by_one_that_works(
    web: httpx.AsyncClient, thread: str
) -> None:
    await run(web, thread, "strict")
    await run(web, thread, "strict", config=STRICT)

    async def waits() -> bool:
        return bool((await web.get(f"/threads/{thread}")).json()["status"] == "interrupted")

    await until(waits)
    await asks(web, thread, "strict")
