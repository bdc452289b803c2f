"""langgraph_sdk as its users use it: the state of threads."""

import uuid
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError

from conftest import System
from harness.waiting import until


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    """A thread on which `steps` has run: items [0, 1, 2]."""
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "steps", input={"items": []})
    return thread_id


async def test_state_and_history_are_read(client: LangGraphClient, thread: str) -> None:
    history = await client.threads.get_history(thread)
    assert [s["values"] for s in history][:2] == [{"items": [0, 1, 2]}, {"items": [0, 1]}]
    assert await client.threads.get_state(thread) == history[0]
    assert await client.threads.get_state(thread, subgraphs=True) == history[0]
    for state in history:
        selector = state["checkpoint"]
        assert await client.threads.get_state(thread, checkpoint=selector) == state
        there = selector["checkpoint_id"]
        assert await client.threads.get_state(thread, checkpoint_id=there) == state
    second = history[1]["checkpoint"]
    for before in (second, second["checkpoint_id"]):
        assert await client.threads.get_history(thread, before=before) == history[2:]
    assert await client.threads.get_history(thread, limit=2) == history[:2]
    inputs = await client.threads.get_history(thread, metadata={"source": "input"})
    assert inputs == history[-1:]
    only = await client.threads.get_state(thread, select=["values.items", "next"])
    assert dict(only) == {"values": {"items": [0, 1, 2]}, "next": []}
    chosen = await client.threads.get_history(thread, limit=1, select=["checkpoint"])
    assert [dict(s) for s in chosen] == [{"checkpoint": history[0]["checkpoint"]}]


async def test_an_update_forks_the_thread(client: LangGraphClient, thread: str) -> None:
    history = await client.threads.get_history(thread)
    created: Any = await client.threads.update_state(thread, {"items": ["u"]}, as_node="step")
    state = await client.threads.get_state(thread)
    assert state["checkpoint"] == created["checkpoint"]
    assert state["values"] == {"items": [0, 1, 2, "u"]}
    old = history[2]["checkpoint"]
    await client.threads.update_state(thread, {"items": ["fork"]}, checkpoint=old)
    assert (await client.threads.get_state(thread))["values"] == {"items": [0, "fork"]}
    for selector in ({"checkpoint": old}, {"checkpoint_id": old["checkpoint_id"]}):
        fields: Any = {"input": {"items": ["in"]}, **selector}
        out: Any = await client.runs.wait(thread, "steps", **fields)
        assert out["items"][:2] == [0, "in"]
    record: Any = await client.threads.get(thread)
    assert record["values"]["items"][:2] == [0, "in"]


async def test_invalid_updates_raise_the_sdks_errors(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(BadRequestError, match="nope"):
        await client.threads.update_state(thread, {}, as_node="nope")
    with pytest.raises(NotFoundError):
        await client.threads.get_history(str(uuid.uuid4()))
    run = await client.runs.create(thread, "slow", input={"items": []})
    with pytest.raises(ConflictError, match="busy"):
        await client.threads.update_state(thread, {"items": []})
    with pytest.raises(ConflictError):
        await client.threads.prune([thread])
    await client.runs.cancel(thread, run["run_id"], wait=True)


async def test_threads_are_seeded_copied_and_pruned(client: LangGraphClient) -> None:
    created: Any = await client.threads.create(
        graph_id="steps",
        supersteps=[
            {"updates": [{"values": {"items": [1]}, "as_node": "__start__"}]},
            {"updates": [{"values": {"items": [2]}, "as_node": "step"}]},
        ],
        ttl=30,
    )
    thread = created["thread_id"]
    assert created["values"] == {"items": [1, 2]}
    assert len(await client.threads.get_history(thread)) == 2
    with_ttl: Any = await client.threads.get(thread, include=["ttl"])
    assert (with_ttl["ttl"]["strategy"], with_ttl["ttl"]["ttl_minutes"]) == ("delete", 30)
    copying: Any = client.threads.copy  # annotated as returning None
    copy = await copying(thread)
    assert copy["values"] == created["values"]
    pruned = await client.threads.prune([thread], strategy="keep_latest")
    assert pruned == {"pruned_count": 1}
    assert len(await client.threads.get_history(thread)) == 1
    assert len(await client.threads.get_history(copy["thread_id"])) == 2
    assert await client.threads.prune([thread, copy["thread_id"]]) == {"pruned_count": 2}
    with pytest.raises(NotFoundError):
        await client.threads.get(thread)


async def test_a_thread_expires_after_its_ttl(client: LangGraphClient) -> None:
    thread = (await client.threads.create(ttl={"ttl": 0.002, "strategy": "delete"}))["thread_id"]

    async def gone() -> bool:
        try:
            await client.threads.get(thread)
        except NotFoundError:
            return True
        return False

    await until(gone, within=30)


def test_the_sync_client_reads_and_writes_state(system: System) -> None:
    with get_sync_client(url=system.url) as client:
        thread = client.threads.create(graph_id="steps")["thread_id"]
        client.threads.update_state(thread, {"items": ["s"]}, as_node="step")
        state = client.threads.get_state(thread)
        assert state["values"] == {"items": ["s"]}
        assert client.threads.get_history(thread) == [state]
        client.threads.delete(thread)


async def test_threads_are_searched_counted_and_updated(
    client: LangGraphClient, thread: str
) -> None:
    mark: dict[str, Any] = {"mark": {"of": str(uuid.uuid4())}}
    other = await client.threads.create(metadata=mark)
    patched: Any = await client.threads.update(thread, metadata=mark, ttl=30)
    assert patched["metadata"]["mark"] == mark["mark"]
    assert patched["metadata"]["graph_id"] == "steps"
    update: Any = client.threads.update
    assert await update(thread, metadata={"n": 1}, return_minimal=True) is None
    matches = await client.threads.search(
        metadata=mark, sort_by="updated_at", sort_order="desc", limit=5
    )
    assert [t["thread_id"] for t in matches] == [thread, other["thread_id"]]
    assert await client.threads.count(metadata=mark, status="idle") == 2
    assert await client.threads.count(metadata=mark, values={"items": [2]}) == 1
    [only] = await client.threads.search(
        ids=[thread], metadata={"n": 1}, values={"items": [0]}, status="idle", offset=0,
        select=["thread_id"], extract={"last": "values.items[-1]"},
    )  # fmt: skip
    assert dict(only) == {"thread_id": thread, "extracted": {"last": 2}}
    runs = await client.runs.list(thread, status="success", select=["status"], limit=1)
    assert [dict(run) for run in runs] == [{"status": "success"}]


async def test_a_batch_of_runs_is_created(client: LangGraphClient) -> None:
    payload: Any = {"assistant_id": "steps", "input": {"items": []}, "on_completion": "keep"}
    created = await client.runs.create_batch([payload, payload])
    for run in created:
        joined: Any = await client.runs.join(run["thread_id"], run["run_id"])
        assert joined == {"items": [0, 1, 2]}
    assert await client.threads.count(metadata={"graph_id": "steps"}) >= 2
