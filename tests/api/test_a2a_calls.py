"""Calls of A2A: JSON-RPC in both versions, errors, and keepalives."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from api.requests import System
from harness.a2a_client import message_request
from harness.processes import Process
from harness.waiting import until

INTERVAL = 0.1
SAID = MessageToDict(message_request("hello"))["message"]
LEGACY = {
    "role": "user",
    "kind": "message",
    "messageId": "m1",
    "parts": [{"kind": "text", "text": "hello"}],
}
SEND: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "SendMessage",
    "params": {"message": SAID},
}
SEND_03 = {**SEND, "method": "message/send", "params": {"message": LEGACY}}


@pytest.fixture(scope="module")
def chatty_api(system: System) -> Process:
    """An API process that sends keepalives ten times a second, and logs."""
    return system.fleet.api(KEEPALIVE_INTERVAL_SECS=str(INTERVAL), LOG_LEVEL="INFO").wait_ready()


@pytest.fixture
async def chatty(chatty_api: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=chatty_api.url, timeout=30) as client:
        yield client


@pytest.fixture
async def slow(chatty: httpx.AsyncClient) -> AsyncIterator[str]:
    """The path of an agent that needs a second for its only token."""
    knobs = {"configurable": {"tokens": 1, "delay": 1}}
    body = {"graph_id": "chat", "name": "slow", "config": knobs}
    assistant = (await chatty.post("/assistants", json=body)).json()["assistant_id"]
    yield f"/a2a/{assistant}"
    await chatty.delete(f"/assistants/{assistant}")


# ── Connections that stay open ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("body", [SEND, SEND_03], ids=["1.0", "0.3"])
async def test_a_blocking_send_sends_keepalives(
    chatty: httpx.AsyncClient, slow: str, body: dict[str, Any]
) -> None:
    async with chatty.stream("POST", slow, json=body) as response:
        # The ids come at once, so that a client that is cut off can read the task.
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-accel-buffering"] == "no"
        _, _, thread, _, run = response.headers["content-location"].split("/")
        at = f"/threads/{thread}/runs/{run}"
        assert (await chatty.get(at)).json()["status"] in ("pending", "running")
        text = (await response.aread()).decode()
    beats = len(text) - len(text.lstrip("\n"))
    assert 3 <= beats <= 30
    result = json.loads(text)["result"]
    assert result.get("task", result)["id"] == f"{thread}:{run}"


@pytest.mark.parametrize(
    "body",
    [{**SEND, "method": "SendStreamingMessage"}, {**SEND_03, "method": "message/stream"}],
    ids=["1.0", "0.3"],
)
async def test_a_stream_sends_keepalives(
    chatty: httpx.AsyncClient, slow: str, body: dict[str, Any]
) -> None:
    async with chatty.stream("POST", slow, json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["content-location"].startswith("/threads/")
        lines = [line async for line in response.aiter_lines()]
    assert 3 <= lines.count(": heartbeat") <= 30
    streamed = [
        json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data")
    ]
    assert {each["id"] for each in streamed} == {1}
    assert "completed" in json.dumps(streamed[-1]).lower()


async def test_an_error_after_the_headers_is_a_json_rpc_error(
    chatty: httpx.AsyncClient, slow: str
) -> None:
    body = {**SEND, "params": {"message": {**SAID, "contextId": "cut"}}}
    async with chatty.stream("POST", slow, json=body) as response:
        location = response.headers["content-location"]
        waiting = asyncio.create_task(response.aread())
        await until(lambda: chatty_began(chatty, location))
        thread = location.rpartition("/runs/")[0]
        # The task was deleted before its response.
        await chatty.post(f"{location}/cancel", params={"wait": "true"})
        await chatty.delete(thread)
        text = (await waiting).decode()
    answer = json.loads(text)
    assert answer.get("error", {}).get("code") == -32001 or (
        answer["result"]["task"]["status"]["state"] == "TASK_STATE_CANCELED"
    )


async def chatty_began(http: httpx.AsyncClient, location: str) -> bool:
    return bool((await http.get(location)).json()["status"] == "running")


# ── Calls ───────────────────────────────────────────────────────────────────────────────────

OLD = {"A2A-Version": "0.3"}
NEW = {"A2A-Version": "1.0"}
GET = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x"}}
GET_03 = {**GET, "method": "tasks/get"}
BROKEN = {"kind": "file", "file": {"bytes": "x"}}  # no base64


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        # Versions: the header decides, and without it the method.
        (NEW, GET, -32001),
        ({"A2A-Version": "1.0.7"}, GET, -32001),
        ({}, GET, -32001),
        ({"A2A-Version": ""}, GET_03, -32001),
        (OLD, GET_03, -32001),
        (OLD, GET, -32601),
        (NEW, GET_03, -32601),
        ({"A2A-Version": "1.1"}, GET, -32009),
        ({"A2A-Version": "99.0"}, GET_03, -32603),  # 0.3 has no code for this error
        ({"A2A-Version": "new"}, GET, -32009),
        # JSON-RPC
        ({}, [GET], -32600),
        ({}, "GetTask", -32600),
        ({}, {**GET, "jsonrpc": "1.0"}, -32600),
        ({}, {**GET, "id": {"a": 1}}, -32600),
        ({}, {**GET, "id": True}, -32600),
        ({}, {**GET, "method": 7}, -32600),
        ({}, {**GET, "method": {}}, -32600),
        ({}, {**GET, "method": []}, -32600),
        ({}, {**GET, "method": ""}, -32600),
        ({}, {**GET, "method": "nope"}, -32601),
        ({}, {**GET, "params": [1]}, -32602),
        ({}, {**GET, "params": "x"}, -32602),
        # Parameters
        ({}, {**GET, "params": {}}, -32602),
        ({}, {**GET, "params": {"id": 7}}, -32602),
        ({}, {**SEND, "params": {"message": "hello"}}, -32602),
        ({}, {**SEND, "params": {"message": {**SAID, "parts": []}}}, -32602),
        ({}, {**SEND, "params": {"message": {**SAID, "parts": [{}]}}}, -32602),
        ({}, {**SEND, "params": {"message": {**SAID, "role": "ROLE_KING"}}}, -32602),
        ({}, {**SEND, "params": {"message": {**SAID, "messageId": ""}}}, -32602),
        ({}, {**SEND, "params": {"message": {**SAID, "taskId": "x"}}}, -32001),
        ({}, {**SEND_03, "params": {}}, -32602),
        ({}, {**SEND_03, "params": {"message": {**LEGACY, "parts": [{"kind": "x"}]}}}, -32602),
        ({}, {**SEND_03, "params": {"message": {**LEGACY, "parts": [BROKEN]}}}, -32602),
        ({}, {**SEND_03, "params": {"message": {**LEGACY, "taskId": "x"}}}, -32001),
        # Capabilities that the card excludes
        ({}, {**GET, "method": "GetExtendedAgentCard"}, -32004),
        ({}, {**GET_03, "method": "agent/getAuthenticatedExtendedCard"}, -32007),
        (
            {},
            {**GET, "method": "ListTaskPushNotificationConfigs", "params": {"taskId": "x"}},
            -32003,
        ),
        ({}, {**GET, "method": "SubscribeToTask"}, -32001),
    ],
)
async def test_an_invalid_call_has_the_protocols_code(
    chatty: httpx.AsyncClient, headers: dict[str, str], body: Any, status: int
) -> None:
    response = await chatty.post("/a2a/chat", json=body, headers=headers)
    assert response.status_code == 200
    answer = response.json()
    assert answer["error"]["code"] == status, answer
    assert answer["error"]["message"]
    request_id = body.get("id") if isinstance(body, dict) else None
    assert answer["id"] == (request_id if request_id == 1 and request_id is not True else None)


async def test_unknown_fields_of_newer_clients_are_ignored(chatty: httpx.AsyncClient) -> None:
    ahead = {
        "message": {**SAID, "novelty": 1, "parts": [{"text": "hello", "novelty": {"a": [1]}}]},
        "configuration": {"returnImmediately": True, "novelty": "x"},
        "novelty": None,
    }
    for path in ("/a2a/chat", "/a2a/chat/", "/a2a/chat?A2A-Version=1.0"):
        answer = (await chatty.post(path, json={**SEND, "params": ahead})).json()
        assert answer["result"]["task"]["status"]["state"]


async def test_a_body_that_is_no_json_is_a_parse_error(chatty: httpx.AsyncClient) -> None:
    for content, kind, status in (
        (b"{", "application/json", -32700),
        (b"", "application/json", -32700),
        (b"\xff", "application/json", -32700),
        (b'{"a": NaN}', "application/a2a+json", -32700),
        (json.dumps(SEND).encode(), "text/plain", -32005),  # browsers send that without asking
        (json.dumps(SEND).encode(), "application/x-www-form-urlencoded", -32005),
    ):
        headers = {"content-type": kind}
        answer = (await chatty.post("/a2a/chat", content=content, headers=headers)).json()
        assert answer["error"]["code"] == status


async def test_an_invalid_call_is_not_logged_as_an_error(
    chatty: httpx.AsyncClient, chatty_api: Process
) -> None:
    mistakes: list[Any] = [
        [],
        {**GET, "params": 1},
        {**SEND_03, "params": {"message": 1}},
        {**SEND, "params": {}},
    ]
    for body in mistakes:
        await chatty.post("/a2a/chat", json=body)
    await chatty.post("/a2a/chat", content=b"{", headers={"content-type": "application/json"})

    def logged() -> list[str]:
        return [line for line in chatty_api.lines if "a2a" in line.lower()]

    await until(lambda: len(logged()) >= len(mistakes) + 1)  # a line for each request
    said = logged()
    assert [line for line in said if json.loads(line)["level"] in ("error", "warning")] == []
    assert not any("Traceback" in line for line in chatty_api.lines)
