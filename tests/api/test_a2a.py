"""Assistants as agents, with the official client of Agent2Agent (1.0), and with JSON-RPC of 0.3."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from a2a.client.client import Client
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError
from google.protobuf.json_format import ParseDict

from api.requests import UNKNOWN_ID, System, detail
from harness.a2a_client import message_request, open_a2a_client
from harness.waiting import until
from millstream.api.a2a.parts import data_of

DONE = pb.TASK_STATE_COMPLETED
Agent = Callable[..., Any]


@pytest.fixture
async def agent(system: System, http: httpx.AsyncClient) -> Agent:
    return partial(open_a2a_client, http, system.url)


async def events(client: Client, request: pb.SendMessageRequest) -> list[pb.StreamResponse]:
    return [event async for event in client.send_message(request)]


async def task_of(client: Client, request: pb.SendMessageRequest) -> pb.Task:
    """Sends a message without a stream. Returns the task."""
    [event] = await events(client, request)
    return event.task


def text(parts: Any) -> str:
    return "".join(part.text for part in parts)


async def test_an_assistant_has_an_agent_card(system: System, http: httpx.AsyncClient) -> None:
    [chat] = (await http.post("/assistants/search", json={"graph_id": "chat"})).json()
    for path in (
        "/a2a/chat/.well-known/agent-card.json",
        f"/.well-known/agent-card.json?assistant_id={chat['assistant_id']}",
    ):
        card = (await http.get(path)).json()
        assert card["name"] == "chat"
        assert card["capabilities"]["streaming"] is True
        url = f"{system.url}/a2a/{chat['assistant_id']}"
        assert [(each["url"], each["protocolVersion"]) for each in card["supportedInterfaces"]] == [
            (url, "1.0"), (url, "0.3"),
        ]  # fmt: skip
        assert (card["url"], card["protocolVersion"]) == (url, "0.3")  # for clients of the version
    assert (await http.get("/.well-known/agent-card.json")).status_code == 422
    assert (await http.get(f"/a2a/{UNKNOWN_ID}/.well-known/agent-card.json")).status_code == 404
    assert "nope" in detail(await http.post("/a2a/nope", json={}))


async def test_a_message_gets_an_answer(agent: Agent, http: httpx.AsyncClient) -> None:
    chat = await agent("chat", streaming=False)
    task = await task_of(chat, message_request("hello"))
    assert task.status.state == DONE
    [artifact] = task.artifacts
    assert text(artifact.parts).startswith("The quick brown fox")
    assert text(task.history[0].parts) == "hello"
    state = (await http.get(f"/threads/{task.context_id}/state")).json()
    assert state["values"]["messages"][0]["content"] == "hello"
    again = await task_of(chat, message_request("and", "on", context=task.context_id))
    assert again.context_id == task.context_id
    assert again.id != task.id
    assert text(again.history[2].parts) == "and\non"
    fetched = await chat.get_task(pb.GetTaskRequest(id=task.id, history_length=1))
    assert (fetched.status.state, len(fetched.history)) == (DONE, 1)
    listed = await chat.list_tasks(pb.ListTasksRequest(context_id=task.context_id, page_size=1))
    assert ([each.id for each in listed.tasks], listed.total_size) == ([again.id], 2)
    rest = await chat.list_tasks(
        pb.ListTasksRequest(context_id=task.context_id, page_token=listed.next_page_token)
    )
    assert [each.id for each in rest.tasks] == [task.id]


async def test_tokens_are_streamed(agent: Agent) -> None:
    streamed = await events(await agent("chat"), message_request("hello"))
    kinds = [event.WhichOneof("payload") for event in streamed]
    assert (kinds[0], kinds[-1]) == ("task", "status_update")
    assert streamed[-1].status_update.status.state == DONE
    parts = [event.artifact_update for event in streamed if event.HasField("artifact_update")]
    assert len(parts) > 10
    assert [part.append for part in parts] == [False, *[True] * (len(parts) - 1)]
    assert "".join(text(part.artifact.parts) for part in parts).startswith("The quick brown fox")
    assert len({part.artifact.artifact_id for part in parts}) == 1


async def test_an_interrupted_task_resumes_with_the_reply(agent: Agent) -> None:
    desk = await agent("desk")
    streamed = await events(desk, message_request("send the mail"))
    last = streamed[-1].status_update
    assert last.status.state == pb.TASK_STATE_INPUT_REQUIRED
    question, by_ids = last.status.message.parts
    assert question.text == "Send the mail to all customers?"
    assert [each["value"] for each in data_of(by_ids)["interrupts"]] == [question.text]
    answers = await asyncio.gather(
        *(
            events(desk, message_request("approved", task=last.task_id, context=last.context_id))
            for _ in range(5)
        ),
        return_exceptions=True,
    )
    [won] = [each for each in answers if not isinstance(each, BaseException)]
    assert won[-1].status_update.status.state == DONE
    assert won[-1].status_update.task_id == last.task_id
    fetched = await desk.get_task(pb.GetTaskRequest(id=last.task_id))
    assert text(fetched.artifacts[0].parts) == "The mail is on its way."
    with pytest.raises(A2AError, match="it is completed"):
        await events(desk, message_request("more", task=last.task_id))
    with pytest.raises(A2AError, match="another context"):
        await events(desk, message_request("more", task=last.task_id, context=UNKNOWN_ID))


async def test_a_task_is_started_followed_and_cancelled(
    agent: Agent, http: httpx.AsyncClient
) -> None:
    body = {"graph_id": "chat", "config": {"configurable": {"tokens": 100, "delay": 0.1}}}
    assistant = (await http.post("/assistants", json=body)).json()["assistant_id"]
    slow = await agent(assistant, streaming=False, polling=True)
    task = await task_of(slow, message_request("hello"))
    assert task.status.state in (pb.TASK_STATE_SUBMITTED, pb.TASK_STATE_WORKING)
    following = (await agent(assistant)).subscribe(pb.SubscribeToTaskRequest(id=task.id))
    streamed = [await anext(following) for _ in range(4)]
    assert streamed[0].task.id == task.id
    assert any(event.HasField("artifact_update") for event in streamed)
    cancelled = await slow.cancel_task(pb.CancelTaskRequest(id=task.id))
    assert cancelled.status.state == pb.TASK_STATE_CANCELED
    rest = [event async for event in following]
    assert rest[-1].status_update.status.state == pb.TASK_STATE_CANCELED
    with pytest.raises(A2AError):
        await slow.cancel_task(pb.CancelTaskRequest(id=task.id))
    with pytest.raises(A2AError):
        _ = [
            event
            async for event in (await agent(assistant)).subscribe(
                pb.SubscribeToTaskRequest(id=task.id)
            )
        ]
    await http.delete(f"/assistants/{assistant}")


async def test_a_client_finds_its_task_after_a_disconnect(agent: Agent) -> None:
    chat = await agent("chat")
    stream = chat.send_message(message_request("hello"))
    task = (await anext(stream)).task
    await stream.aclose()

    async def done() -> bool:
        return bool((await chat.get_task(pb.GetTaskRequest(id=task.id))).status.state == DONE)

    await until(done)


async def test_data_files_and_failures_are_parts(agent: Agent, http: httpx.AsyncClient) -> None:
    chat = await agent("chat", streaming=False)
    parts = [
        ParseDict({"data": {"a": 1}}, pb.Part()),
        ParseDict({"url": "https://x.example/y.png", "mediaType": "image/png"}, pb.Part()),
        ParseDict({"raw": "aGk=", "mediaType": "text/csv"}, pb.Part()),
    ]
    task = await task_of(chat, message_request("look", *parts))
    state = (await http.get(f"/threads/{task.context_id}/state")).json()
    assert state["values"]["messages"][0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "text", "text": '{"a":1}'},
        {"type": "image", "mime_type": "image/png", "url": "https://x.example/y.png"},
        {"type": "file", "mime_type": "text/csv", "base64": "aGk="},
    ]
    with pytest.raises(A2AError, match="has no `messages`"):
        await task_of(await agent("steps", streaming=False), message_request("hello"))
    with pytest.raises(A2AError, match="does not accept 'application/x-tar'"):
        await task_of(
            chat,
            message_request(
                ParseDict({"raw": "aGk=", "mediaType": "application/x-tar"}, pb.Part())
            ),
        )
    for gone in ("nonsense", f"{UNKNOWN_ID}:{UNKNOWN_ID}"):
        with pytest.raises(A2AError):
            await chat.get_task(pb.GetTaskRequest(id=gone))
    steps = await agent("nested_chat", streaming=False)
    with pytest.raises(A2AError):  # a task of another agent
        await steps.get_task(pb.GetTaskRequest(id=task.id))


# ── 0.3, by hand ────────────────────────────────────────────────────────────────────────────


async def rpc(http: httpx.AsyncClient, method: Any, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
    response = await http.post("/a2a/chat", json=body)
    assert response.status_code == 200
    return response.json()


async def test_version_0_3_is_supported(http: httpx.AsyncClient) -> None:
    said = {
        "role": "user",
        "kind": "message",
        "messageId": "m1",
        "parts": [{"kind": "text", "text": "hello"}],
    }
    task = (await rpc(http, "message/send", message=said))["result"]
    assert (task["kind"], task["status"]["state"]) == ("task", "completed")
    assert task["artifacts"][0]["parts"][0]["text"].startswith("The quick brown fox")
    fetched = (await rpc(http, "tasks/get", id=task["id"]))["result"]
    assert fetched["contextId"] == task["contextId"]
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/stream", "params": {"message": said}}
    response = await http.post("/a2a/chat", json=body)
    streamed = [
        json.loads(line[6:])["result"]
        for line in response.text.splitlines()
        if line[:6] == "data: "
    ]
    assert {each["kind"] for each in streamed} == {"task", "status-update", "artifact-update"}
    assert streamed[-1]["final"] is True
    ended = {**said, "taskId": task["id"]}
    assert (await rpc(http, "message/send", message=ended))["error"]["code"] == -32004
    assert (await rpc(http, "tasks/get", id="nonsense"))["error"]["code"] == -32001
    assert (await rpc(http, "tasks/cancel", id=task["id"]))["error"]["code"] == -32002
    assert (await rpc(http, "nope"))["error"]["code"] == -32601
    config = {"taskId": task["id"], "pushNotificationConfig": {"url": "https://x.example"}}
    assert (await rpc(http, "tasks/pushNotificationConfig/set", **config))["error"][
        "code"
    ] == -32003
    broken = await http.post(
        "/a2a/chat", content=b"{", headers={"content-type": "application/json"}
    )
    assert broken.json()["error"]["code"] == -32700
