"""langgraph_sdk as its users use it: threads, assistants and runs."""

import asyncio
import uuid
from functools import partial
from typing import Any, cast

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnprocessableEntityError,
)
from langgraph_sdk.schema import MultitaskStrategy, RunCreateMetadata

from conftest import System
from e2e.python_sdk import HELLO, collect, knobs
from harness.waiting import until

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def test_threads_are_created_and_read(client: LangGraphClient) -> None:
    chosen = str(uuid.uuid4())
    created = await client.threads.create(thread_id=chosen, metadata={"who": "me"})
    assert created["thread_id"] == chosen
    assert (await client.threads.get(chosen))["metadata"] == {"who": "me"}
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=chosen)
    again = await client.threads.create(thread_id=chosen, if_exists="do_nothing")
    assert again["created_at"] == created["created_at"]
    empty = await client.threads.get_state(chosen)
    assert (empty["values"], empty["next"]) == ({}, [])

    await client.runs.wait(chosen, "steps", input={}, config=knobs(n=2))
    thread = await client.threads.get(chosen)
    assert (thread["status"], thread["values"]) == ("idle", {"items": [0, 1]})
    state = await client.threads.get_state(chosen)
    assert state["values"] == {"items": [0, 1]}
    assert state["checkpoint"]["thread_id"] == chosen


async def test_assistants_are_searched_and_read(client: LangGraphClient) -> None:
    assistants = await client.assistants.search(limit=100)
    chat = next(assistant for assistant in assistants if assistant["graph_id"] == "chat")
    assert (await client.assistants.get(chat["assistant_id"])) == chat
    [same] = await client.assistants.search(graph_id="chat")
    assert same == chat
    assert await client.runs.wait(None, chat["assistant_id"], input=HELLO)


async def test_a_run_is_created_joined_listed_and_deleted(
    client: LangGraphClient, thread: str
) -> None:
    heard: list[RunCreateMetadata] = []
    run = await client.runs.create(
        thread,
        "steps",
        input={"items": []},
        stream_mode=["values", "updates"],
        metadata={"origin": "test"},
        config=knobs(n=3),
        on_run_created=heard.append,
    )
    run_id = run["run_id"]
    assert heard == [{"run_id": run_id, "thread_id": thread}]
    assert run["status"] == "pending"
    assert cast("Any", run)["metadata"]["origin"] == "test"
    assert await client.runs.join(thread, run_id) == {"items": [0, 1, 2]}
    assert (await client.runs.get(thread, run_id))["status"] == "success"

    events = await collect(client.runs.join_stream(thread, run_id))
    assert [event.event for event in events] == [
        "metadata", "values", *["updates", "values"] * 3, "end",
    ]  # fmt: skip
    after = await collect(client.runs.join_stream(thread, run_id, last_event_id=events[3].id))
    assert after == events[4:]
    only = await collect(client.runs.join_stream(thread, run_id, stream_mode="updates"))
    assert [event.event for event in only] == ["metadata", *["updates"] * 3, "end"]

    await client.runs.wait(thread, "steps", input=None)
    listed = await client.runs.list(thread)
    assert [listed[1]["run_id"], len(listed)] == [run_id, 2]
    assert [run["run_id"] for run in await client.runs.list(thread, limit=1, offset=1)] == [run_id]
    assert await client.runs.list(thread, status="error") == []
    await client.runs.delete(thread, run_id)
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, run_id)


@pytest.mark.parametrize("wait", [False, True])
async def test_a_run_is_cancelled(client: LangGraphClient, thread: str, wait: bool) -> None:
    run_id = (await client.runs.create(thread, "slow", input={}))["run_id"]

    async def running() -> bool:
        return (await client.runs.get(thread, run_id))["status"] == "running"

    await until(running)
    await client.runs.cancel(thread, run_id, wait=wait)
    if not wait:
        await client.runs.join(thread, run_id)
    assert (await client.runs.get(thread, run_id))["status"] == "interrupted"
    with pytest.raises(NotFoundError):
        await client.runs.cancel(thread, run_id)


def _note(created: asyncio.Future[str], ids: RunCreateMetadata) -> None:
    created.set_result(ids["run_id"])


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_of_three_quick_messages_the_newest_is_answered(
    client: LangGraphClient, thread: str, strategy: MultitaskStrategy
) -> None:
    """As a chat window sends them. A deferred run is displaced too."""
    later = (await client.runs.create(thread, "chat", input=HELLO, after_seconds=600))["run_id"]
    runs = [later]
    following = []
    for said, tokens in (("one", 500), ("two", 500), ("three", 3)):
        created: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        message: Any = {"messages": [{"role": "user", "content": said}]}
        stream = client.runs.stream(
            thread,
            "chat",
            input=message,
            config=knobs(tokens=tokens, delay=0.05),
            stream_mode=["values", "messages-tuple"],  # without tokens the model does not wait
            multitask_strategy=strategy,
            on_run_created=partial(_note, created),
        )
        following.append(asyncio.create_task(collect(stream)))
        runs.append(await asyncio.wait_for(created, 10))
    ends = [(await each)[-1] for each in following]
    assert [end.event for end in ends] == ["end"] * 3
    assert [end.data["status"] for end in ends] == ["interrupted", "interrupted", "success"]
    statuses = {run["run_id"]: run["status"] for run in await client.runs.list(thread)}
    left = "gone" if strategy == "rollback" else "interrupted"
    assert [statuses.get(run, "gone") for run in runs] == [left, left, left, "success"]
    values = (await client.threads.get_state(thread))["values"]
    assert isinstance(values, dict)
    said_at_last = [message["content"] for message in values["messages"]]
    assert said_at_last[-2:] == ["three", "The quick brown"]
    assert len(said_at_last) == 2 or strategy == "interrupt"
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_an_interrupt_is_resumed(client: LangGraphClient, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "approval", input={"topic": "lunch"}))
    [interrupt] = parts[-2].data["__interrupt__"]
    assert interrupt["value"] == {"question": "approve lunch?"}
    paused = await client.threads.get(thread)
    assert paused["status"] == "interrupted"
    assert [i["id"] for task in paused["interrupts"].values() for i in task] == [interrupt["id"]]
    state = await client.threads.get_state(thread)
    assert state["next"] == ["ask"]

    done = await client.runs.wait(thread, "approval", command={"resume": "yes"})
    assert done == {"topic": "lunch", "answer": "yes", "log": ["before", "ask", "after"]}
    thread_now = await client.threads.get(thread)
    assert (thread_now["status"], thread_now["interrupts"]) == ("idle", {})


async def test_a_run_continues_after_a_breakpoint(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "nested", input={"text": "x"}, interrupt_before=["post"])
    assert (await client.threads.get_state(thread))["next"] == ["post"]
    assert await client.runs.wait(thread, "nested") == {"text": "x+pre+c1+c2+post"}


@pytest.mark.parametrize("state", ["stateful", "stateless"])
async def test_on_run_created_gets_the_ids(
    client: LangGraphClient, thread: str, state: str
) -> None:
    heard: list[RunCreateMetadata] = []
    thread_id = cast("Any", thread if state == "stateful" else None)
    parts = await collect(
        client.runs.stream(thread_id, "steps", input={}, on_run_created=heard.append)
    )
    assert heard[0]["run_id"] == parts[0].data["run_id"]
    assert heard[0].get("thread_id") == thread_id
    await client.runs.wait(thread_id, "steps", input={}, on_run_created=heard.append)
    run = await client.runs.create(thread_id, "steps", input={}, on_run_created=heard.append)
    assert heard[2]["run_id"] == run["run_id"]
    assert len({event["run_id"] for event in heard}) == 3
    await client.runs.join(run["thread_id"], run["run_id"])


async def test_errors_have_the_sdks_types(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(NotFoundError, match="not found"):
        await client.threads.get(UNKNOWN_ID)
    with pytest.raises(NotFoundError):
        await client.threads.get_state(UNKNOWN_ID)
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, UNKNOWN_ID)
    with pytest.raises(NotFoundError):
        await client.runs.create(UNKNOWN_ID, "steps")
    with pytest.raises(NotFoundError):
        await collect(client.runs.join_stream(thread, UNKNOWN_ID))
    with pytest.raises(UnprocessableEntityError, match="nope"):
        await client.runs.create(thread, "nope")
    with pytest.raises(UnprocessableEntityError, match="stream_mode"):
        await collect(client.runs.stream(thread, "steps", stream_mode=cast("Any", "loud")))
    with pytest.raises(UnprocessableEntityError):
        await client.threads.get("not-a-uuid")
    with pytest.raises(BadRequestError):
        await collect(client.runs.stream("not-a-uuid", "steps"))

    first = await client.runs.create(thread, "slow", input={})
    with pytest.raises(ConflictError, match="already running"):
        await client.runs.create(thread, "steps", multitask_strategy="reject")
    await client.runs.cancel(thread, first["run_id"], wait=True)


async def test_a_failing_graph_raises(client: LangGraphClient, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "boom", input={}))
    error = {"error": "ValueError", "message": "boom"}
    assert [(part.event, part.data) for part in parts[-2:]] == [
        ("error", error),
        ("end", {"status": "error"}),
    ]
    with pytest.raises(Exception, match="ValueError: boom"):
        await client.runs.wait(thread, "boom", input={})
    assert await client.runs.wait(None, "boom", input={}, raise_error=False) == {"__error__": error}
    assert (await client.threads.get(thread))["status"] == "error"


def test_the_sync_client_is_supported(system: System) -> None:
    with get_sync_client(url=system.url) as client:
        thread = client.threads.create()["thread_id"]
        heard: list[RunCreateMetadata] = []
        parts = list(
            client.runs.stream(
                thread, "steps", input={}, stream_mode="updates", on_run_created=heard.append
            )
        )
        assert [part.event for part in parts] == ["metadata", *["updates"] * 3, "end"]
        assert heard[0]["run_id"] == parts[0].data["run_id"]
        assert client.runs.wait(thread, "steps", input=None) == {"items": [0, 1, 2]}
        assert client.runs.get(thread, heard[0]["run_id"])["status"] == "success"
        with pytest.raises(NotFoundError):
            client.threads.get(UNKNOWN_ID)
