"""Calls every method of langgraph_sdk with every parameter, and checks the results."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from e2e.sdk_surface.recorder import Recorder
from harness.waiting import until

UNREACHABLE: Final = "https://nobody.invalid/hook"  # a reserved name, which never resolves
HELLO: Final[Any] = {"messages": [{"role": "user", "content": "hello"}]}
APPROVE: Final = {"question": "approve t?"}
YEARLY: Final = "0 0 1 1 *"


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [part async for part in stream]


def knobs(**values: Any) -> dict[str, Any]:
    return {"configurable": values}


async def everything(client: Recorder) -> None:
    """Calls all methods. Each part deletes what it creates."""
    await assistants(client)
    await threads(client)
    await state(client)
    await runs(client)
    await streams(client)
    await protocol(client)
    await crons(client)
    await store(client)


async def assistants(client: Recorder) -> None:
    """Records, versions, and the drawing and schemas of their graphs."""
    mark = {"mark": str(uuid.uuid4())}
    chosen = str(uuid.uuid4())
    fields: dict[str, Any] = {
        "config": {"tags": ["t"], "configurable": {"n": 2}},
        "metadata": mark,
        "name": "two steps",
        "description": "counts to two",
    }
    first = await client.assistants.create(
        "steps", assistant_id=chosen, if_exists="raise", **fields
    )
    assert (first["assistant_id"], first["version"]) == (chosen, 1)
    assert (first["name"], first["description"]) == ("two steps", "counts to two")
    again = await client.assistants.create("steps", assistant_id=chosen, if_exists="do_nothing")
    assert again == first == await client.assistants.get(chosen)
    assert await client.runs.wait(None, chosen, input={}) == {"items": [0, 1]}

    changed = await client.assistants.update(
        chosen, graph_id="steps", context={"n": 1}, metadata={"more": 1},
        name="one", description="counts to one",
    )  # fmt: skip
    assert (changed["version"], changed["name"], changed["context"]) == (2, "one", {"n": 1})
    assert changed["metadata"] == {**mark, "more": 1}
    config = await client.assistants.update(chosen, config=knobs(n=1))
    assert config["config"]["configurable"]["n"] == 1
    versions = await client.assistants.get_versions(chosen, metadata=mark, limit=10, offset=0)
    assert [each["version"] for each in versions] == [3, 2, 1]
    latest = await client.assistants.set_latest(chosen, 1)
    assert (latest["version"], latest["name"]) == (1, "two steps")

    page = await client.assistants.search(
        metadata=mark, graph_id="steps", name="two", limit=5, offset=0, sort_by="created_at",
        sort_order="asc", select=["assistant_id", "name"], response_format="object",
    )  # fmt: skip
    assert page["assistants"] == [{"assistant_id": chosen, "name": "two steps"}]
    assert await client.assistants.count(metadata=mark, graph_id="steps", name="two") == 1
    other = await client.assistants.create("steps", context={"n": 5}, metadata=mark)
    assert await client.assistants.count(metadata=mark) == 2

    drawn = await client.assistants.get_graph(chosen, xray=1)
    assert {node["id"] for node in drawn["nodes"]} == {"__start__", "step", "__end__"}
    schemas = await client.assistants.get_schemas(chosen)
    assert "items" in schemas["state_schema"]["properties"]
    [nested] = await client.assistants.search(graph_id="nested", metadata={"created_by": "system"})
    for below in ({}, {"namespace": "child", "recurse": True}):
        assert set(await client.assistants.get_subgraphs(nested["assistant_id"], **below)) == {
            "child"
        }
    for assistant_id, and_threads in ((chosen, True), (other["assistant_id"], False)):
        await client.assistants.delete(assistant_id, delete_threads=and_threads)
    assert await client.assistants.count(metadata=mark) == 0


async def threads(client: Recorder) -> None:
    """Records: created, searched, updated, copied, pruned, deleted."""
    mark = {"mark": str(uuid.uuid4())}
    chosen = str(uuid.uuid4())
    step = {"values": {"items": [7, 8, 9]}, "as_node": "step"}
    created = await client.threads.create(
        metadata=mark, thread_id=chosen, if_exists="raise", supersteps=[{"updates": [step]}],
        graph_id="steps", ttl=60,
    )  # fmt: skip
    assert created["thread_id"] == chosen
    assert created["values"] == {"items": [7, 8, 9]}
    again = await client.threads.create(thread_id=chosen, if_exists="do_nothing")
    assert again["created_at"] == created["created_at"]
    seen = await client.threads.get(chosen, include=["ttl"])
    assert seen["ttl"]["ttl_minutes"] == 60
    patched = await client.threads.update(chosen, metadata={"more": 1}, ttl=30)
    assert patched["metadata"].items() >= {**mark, "more": 1}.items()
    nothing = await client.threads.update(chosen, metadata={"yet": 2}, return_minimal=True)
    assert nothing is None

    filters: dict[str, Any] = {"metadata": mark, "values": {"items": [7, 8, 9]}, "status": "idle"}
    matches = await client.threads.search(
        **filters, ids=[chosen], limit=5, offset=0, sort_by="created_at", sort_order="asc",
        select=["thread_id", "metadata"], extract={"first": "values.items[0]"},
    )  # fmt: skip
    assert [(each["thread_id"], each["extracted"]) for each in matches] == [(chosen, {"first": 7})]
    assert await client.threads.count(**filters) == 1

    copy = (await client.threads.copy(chosen))["thread_id"]
    assert copy != chosen
    assert (await client.threads.get_state(copy))["values"] == {"items": [7, 8, 9]}
    assert (await client.threads.prune([copy], strategy="delete"))["pruned_count"] == 1
    await client.threads.delete(chosen)
    assert await client.threads.count(metadata=mark) == 0


async def state(client: Recorder) -> None:
    """State: read and updated, at any checkpoint."""
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "nested", input={"text": "x"})
    past = await client.threads.get_history(thread, limit=10, select=["values", "checkpoint"])
    assert past[0]["values"] == {"text": "x+pre+c1+c2+post"}
    before, at = past[0]["checkpoint"], past[1]["checkpoint"]
    older = await client.threads.get_history(
        thread, limit=10, before=before, metadata={"source": "loop"}, checkpoint=None
    )
    assert older
    assert all(each["metadata"]["source"] == "loop" for each in older)
    selector = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": at["checkpoint_id"]}
    assert (await client.threads.get_history(thread, checkpoint=selector))[0]["checkpoint"] == at
    for where in ({"checkpoint": selector}, {"checkpoint_id": at["checkpoint_id"]}):
        seen = await client.threads.get_state(thread, subgraphs=True, **where)
        assert seen["checkpoint"]["checkpoint_id"] == at["checkpoint_id"]
    some = await client.threads.get_state(thread, select=["values"])
    assert some["values"] == past[0]["values"]

    for where in ({"checkpoint": selector}, {"checkpoint_id": at["checkpoint_id"]}, {}):
        await client.threads.update_state(thread, {"text": "forked"}, as_node="pre", **where)
        assert (await client.threads.get_state(thread))["values"] == {"text": "forked"}
    await client.threads.delete(thread)


def all_of_a_run(**more: Any) -> dict[str, Any]:
    """Returns the parameters that all methods for runs have."""
    return {
        "input": {"items": []},
        "command": None,
        "metadata": {"of": "surface"},
        "config": knobs(n=2),
        "context": {"n": 2},
        "interrupt_before": ["nowhere"],
        "interrupt_after": ["nowhere"],
        "webhook": UNREACHABLE,
        "multitask_strategy": "enqueue",
        "after_seconds": 0,
        "langsmith_tracing": {"project_name": "none"},
        "durability": "exit",
        "strict_resume": False,
        **more,
    }


async def runs(client: Recorder) -> None:
    """Runs in the background: one, many; listed, joined, cancelled, deleted."""
    thread = str(uuid.uuid4())
    created: list[Any] = []
    run = await client.runs.create(
        thread, "steps", if_not_exists="create", stream_mode=["values"], stream_subgraphs=True,
        stream_resumable=True, on_run_created=created.append, **all_of_a_run(),
    )  # fmt: skip
    run_id = run["run_id"]
    assert created == [{"run_id": run_id, "thread_id": thread}]
    assert await client.runs.join(thread, run_id) == {"items": [0, 1]}
    assert (await client.runs.get(thread, run_id))["status"] == "success"
    parts = await collect(
        client.runs.join_stream(
            thread, run_id, cancel_on_disconnect=False, stream_mode="values", last_event_id="-1"
        )
    )
    assert [part.event for part in parts] == ["metadata", *["values"] * 3, "end"]
    listed = await client.runs.list(thread, limit=1, offset=0, status="success", select=["run_id"])
    assert listed == [{"run_id": run_id}]

    [checkpoint, *_] = await client.threads.get_history(thread, limit=1)
    at = {"thread_id": thread, **checkpoint["checkpoint"]}
    for where in ({"checkpoint": at}, {"checkpoint_id": at["checkpoint_id"]}):
        forked = await client.runs.create(thread, "steps", checkpoint_during=False, **where)
        assert await client.runs.join(thread, forked["run_id"]) == {"items": [0, 1]}
    alone = await client.runs.create(None, "steps", on_completion="delete", input={})
    await client.runs.join(alone["thread_id"], alone["run_id"])
    await client.runs.delete(thread, run_id)

    both = await client.runs.create_batch(
        [{"assistant_id": "steps", "input": {}, "metadata": {"n": n}} for n in range(2)]
    )
    for each in both:
        assert await client.runs.join(each["thread_id"], each["run_id"]) == {"items": [0, 1, 2]}

    slow = [(await client.runs.create(thread, "slow", input={}))["run_id"] for _ in range(3)]
    await client.runs.cancel(thread, slow[0], wait=True, action="interrupt")
    await client.runs.cancel_many(thread_id=thread, run_ids=slow[1:2], action="interrupt")
    await client.runs.cancel_many(status="all", action="rollback")

    async def idle() -> bool:
        return bool((await client.threads.get(thread))["status"] != "busy")

    await until(idle, what="all runs are cancelled")
    assert (await client.runs.get(thread, slow[1]))["status"] == "interrupted"
    await client.threads.delete(thread)


async def streams(client: Recorder) -> None:
    """Streams and waits of runs, and the stream of a thread."""
    thread = str(uuid.uuid4())
    created: list[Any] = []
    parts = await collect(
        client.runs.stream(
            thread, "steps", if_not_exists="create", stream_mode=["values"], version="v1",
            stream_subgraphs=True, stream_resumable=True, feedback_keys=["good"],
            on_disconnect="continue", on_run_created=created.append, **all_of_a_run(),
        )
    )  # fmt: skip
    assert [part.event for part in parts if part.event != "feedback"] == [
        "metadata", *["values"] * 3, "end",
    ]  # fmt: skip
    waited = await client.runs.wait(
        thread, "steps", if_not_exists="reject", on_disconnect="cancel", raise_error=True,
        on_run_created=created.append, **all_of_a_run(),
    )  # fmt: skip
    assert waited == {"items": [0, 1, 2]}
    assert len(created) == 2

    [checkpoint, *_] = await client.threads.get_history(thread, limit=1)
    at = {"thread_id": thread, **checkpoint["checkpoint"]}
    for where in ({"checkpoint": at}, {"checkpoint_id": at["checkpoint_id"]}):
        assert await client.runs.wait(thread, "steps", checkpoint_during=True, **where) == waited
        again = client.runs.stream(thread, "steps", checkpoint_during=True, **where)
        assert (await collect(again))[-2].data == waited
    for completion in ("delete", "keep"):
        assert await client.runs.wait(None, "steps", input={}, on_completion=completion)
        assert await collect(client.runs.stream(None, "steps", input={}, on_completion=completion))

    following = await client.threads.join_stream(
        thread, last_event_id="-", stream_mode=["run_modes", "lifecycle", "state_update"]
    )
    async with asyncio.timeout(20):
        async for part in following:
            if part.data.get("status") == "run_done":
                break
    await following.aclose()
    await client.threads.delete(thread)


def all_of_a_cron(**more: Any) -> dict[str, Any]:
    """Returns the parameters that all methods that write crons have."""
    return {
        "schedule": YEARLY,
        "input": {},
        "metadata": {"of": "surface"},
        "config": knobs(n=1),
        "context": {"n": 1},
        "interrupt_before": ["nowhere"],
        "interrupt_after": ["nowhere"],
        "webhook": UNREACHABLE,
        "end_time": datetime.now(UTC) + timedelta(days=900),
        "enabled": True,
        "timezone": "Europe/Berlin",
        "stream_mode": ["values"],
        "stream_subgraphs": True,
        "stream_resumable": True,
        "durability": "sync",
        **more,
    }


async def protocol(client: Recorder) -> None:
    """The event streaming protocol over both transports: a run pauses, resumes and ends."""
    for transport in ("sse", "websocket"):
        thread = str(uuid.uuid4())
        opened = await client.threads.stream(
            thread, assistant_id="approval", run_start_timeout=10, transport=transport
        )
        if hasattr(opened, "__aenter__"):
            async with opened as stream:
                await stream.run.start(input={"topic": "t"})
                seen = [values async for values in stream.values]
                assert seen[-1]["log"] == ["before"]
                assert [each["value"] for each in stream.interrupts] == [APPROVE]
                await stream.run.respond("yes")
                ended = await stream.output
        else:
            seen, ended = await asyncio.to_thread(_approved, opened)
        # The sync client ends the values when it receives the pause. That comes over another connection, which may be
        # faster than that of the values, so the stored state is compared too.
        assert all(values.get("log", []) in ([], ["before"]) for values in seen)
        states = await client.threads.get_history(thread)
        assert ["before"] in [
            state["values"]["log"] for state in states if state["next"] == ["ask"]
        ]
        assert (ended["answer"], ended["log"]) == ("yes", ["before", "ask", "after"])
        await client.threads.delete(thread)


def _approved(opened: Any) -> tuple[list[Any], Any]:
    with opened as stream:
        stream.run.start(input={"topic": "t"})
        seen = list(stream.values)
        assert [each["value"] for each in stream.interrupts] == [APPROVE]
        stream.run.respond("yes")
        return seen, stream.output


async def crons(client: Recorder) -> None:
    """Crons: with a new thread a run, and on a thread."""
    mark = {"mark": str(uuid.uuid4())}
    thread = (await client.threads.create())["thread_id"]
    more = {"metadata": mark, "multitask_strategy": "enqueue", "checkpoint_during": True}
    stateless = await client.crons.create("steps", on_run_completed="keep", **all_of_a_cron(**more))
    on_thread = await client.crons.create_for_thread(thread, "steps", **all_of_a_cron(**more))
    assert (stateless["thread_id"], on_thread["thread_id"]) == (None, thread)
    assistant = stateless["assistant_id"]
    assert await client.crons.count(assistant_id=assistant, metadata=mark) == 2
    assert await client.crons.count(thread_id=thread) == 1
    changed = await client.crons.update(
        stateless["cron_id"],
        on_run_completed="delete",
        **all_of_a_cron(enabled=False, metadata=mark),
    )
    assert (changed["enabled"], changed["timezone"]) == (False, "Europe/Berlin")
    matches = await client.crons.search(
        assistant_id=assistant, thread_id=thread, enabled=True, metadata=mark, limit=5, offset=0,
        sort_by="created_at", sort_order="desc", select=["cron_id", "schedule"],
    )  # fmt: skip
    assert [each["cron_id"] for each in matches] == [on_thread["cron_id"]]
    for cron in (stateless, on_thread):
        await client.crons.delete(cron["cron_id"])
    assert await client.crons.count(metadata=mark) == 0
    await client.threads.delete(thread)


async def store(client: Recorder) -> None:
    """The long-term store."""
    label = f"surface-{uuid.uuid4()}"
    await client.store.put_item([label, "a"], "one", {"n": 1}, index=False, ttl=5)
    one = await client.store.get_item([label, "a"], "one", refresh_ttl=True)
    assert one["value"] == {"n": 1}
    page = await client.store.search_items(
        [label], filter={"n": 1}, limit=5, offset=0, query=None, refresh_ttl=False
    )
    assert [item["key"] for item in page["items"]] == ["one"]
    namespaces = await client.store.list_namespaces(
        prefix=[label], suffix=["a"], max_depth=2, limit=5, offset=0
    )
    assert namespaces["namespaces"] == [[label, "a"]]
    await client.store.delete_item([label, "a"], "one")
    assert await client.store.get_item([label, "a"], "one") is None
