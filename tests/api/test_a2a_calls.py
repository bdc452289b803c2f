"""How A2A is called: JSON-RPC in its two versions, what is refused and how, and connections that stay open."""

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
    """An API process that says something ten times a second, and logs what it thinks is worth it."""
    return system.fleet.api(KEEPALIVE_INTERVAL_SECS=str(INTERVAL), LOG_LEVEL="INFO").wait_ready()


@pytest.fixture
async def chatty(chatty_api: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=chatty_api.url, timeout=30) as client:
        yield client


@pytest.fixture
async def slow(chatty: httpx.AsyncClient) -> AsyncIterator[str]:
    """The path of an agent that takes a second for its only token."""
    knobs = {"configurable": {"tokens": 1, "delay": 1}}
    body = {"graph_id": "chat", "name": "slow", "config": knobs}
    assistant = (await chatty.post("/assistants", json=body)).json()["assistant_id"]
    yield f"/a2a/{assistant}"
    await chatty.delete(f"/assistants/{assistant}")


# ── Connections that stay open ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("body", [SEND, SEND_03], ids=["1.0", "0.3"])
async def test_a_blocking_send_speaks_while_it_waits(
    chatty: httpx.AsyncClient, slow: str, body: dict[str, Any]
) -> None:
    async with chatty.stream("POST", slow, json=body) as response:
        # The run is known at once: a client that is cut off can ask for the task.
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
async def test_a_stream_speaks_while_it_waits(
    chatty: httpx.AsyncClient, slow: str, body: dict[str, Any]
) -> None:
    async with chatty.stream("POST", slow, json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["content-location"].startswith("/threads/")
        lines = [line async for line in response.aiter_lines()]
    assert 3 <= lines.count(": heartbeat") <= 30
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data")]
    assert {each["id"] for each in told} == {1}
    assert "completed" in json.dumps(told[-1]).lower()


async def test_an_error_after_the_headers_is_one_of_json_rpc(
    chatty: httpx.AsyncClient, slow: str
) -> None:
    body = {**SEND, "params": {"message": {**SAID, "contextId": "cut"}}}
    async with chatty.stream("POST", slow, json=body) as response:
        place = response.headers["content-location"]
        waiting = asyncio.create_task(response.aread())
        await until(lambda: chatty_began(chatty, place))
        thread = place.rpartition("/runs/")[0]
        # The task is gone before it could answer.
        await chatty.post(f"{place}/cancel", params={"wait": "true"})
        await chatty.delete(thread)
        text = (await waiting).decode()
    answer = json.loads(text)
    assert answer.get("error", {}).get("code") == -32001 or (
        answer["result"]["task"]["status"]["state"] == "TASK_STATE_CANCELED"
    )


async def chatty_began(http: httpx.AsyncClient, place: str) -> bool:
    return bool((await http.get(place)).json()["status"] == "running")


# ── Calls ───────────────────────────────────────────────────────────────────────────────────

OLD = {"A2A-Version": "0.3"}
NEW = {"A2A-Version": "1.0"}
GET = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x"}}
GET_03 = {**GET, "method": "tasks/get"}
BROKEN = {"kind": "file", "file": {"bytes": "x"}}  # no base64


@pytest.mark.parametrize(
    ("headers", "body", "wanted"),
    [
        # Versions: what the header says counts, without it the method tells.
        (NEW, GET, -32001),
        ({"A2A-Version": "1.0.7"}, GET, -32001),
        ({}, GET, -32001),
        ({"A2A-Version": ""}, GET_03, -32001),
        (OLD, GET_03, -32001),
        (OLD, GET, -32601),
        (NEW, GET_03, -32601),
        ({"A2A-Version": "1.1"}, GET, -32009),
        ({"A2A-Version": "99.0"}, GET_03, -32603),  # 0.3 has no code for it
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
        # What the card says that there is not
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
async def test_what_is_wrong_has_the_code_of_the_protocol(
    chatty: httpx.AsyncClient, headers: dict[str, str], body: Any, wanted: int
) -> None:
    response = await chatty.post("/a2a/chat", json=body, headers=headers)
    assert response.status_code == 200
    answer = response.json()
    assert answer["error"]["code"] == wanted, answer
    assert answer["error"]["message"]
    asked_id = body.get("id") if isinstance(body, dict) else None
    assert answer["id"] == (asked_id if asked_id == 1 and asked_id is not True else None)


async def test_clients_that_run_ahead_are_understood(chatty: httpx.AsyncClient) -> None:
    ahead = {
        "message": {**SAID, "novelty": 1, "parts": [{"text": "hello", "novelty": {"a": [1]}}]},
        "configuration": {"returnImmediately": True, "novelty": "x"},
        "novelty": None,
    }
    for path in ("/a2a/chat", "/a2a/chat/", "/a2a/chat?A2A-Version=1.0"):
        answer = (await chatty.post(path, json={**SEND, "params": ahead})).json()
        assert answer["result"]["task"]["status"]["state"]


async def test_a_body_that_is_no_json(chatty: httpx.AsyncClient) -> None:
    for content, kind, wanted in (
        (b"{", "application/json", -32700),
        (b"", "application/json", -32700),
        (b"\xff", "application/json", -32700),
        (b'{"a": NaN}', "application/a2a+json", -32700),
        (json.dumps(SEND).encode(), "text/plain", -32005),  # browsers send that without asking
        (json.dumps(SEND).encode(), "application/x-www-form-urlencoded", -32005),
    ):
        headers = {"content-type": kind}
        answer = (await chatty.post("/a2a/chat", content=content, headers=headers)).json()
        assert answer["error"]["code"] == wanted


async def test_a_clients_mistake_is_no_error_in_the_log(
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
    said = [line for line in chatty_api.lines if "a2a" in line.lower()]
    assert [line for line in said if line.startswith(("ERROR", "WARNING"))] == []
    assert not any("Traceback" in line for line in chatty_api.lines)
