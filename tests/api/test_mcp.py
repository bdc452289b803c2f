"""Assistants as tools, with the official client of the Model Context Protocol and with plain requests."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, MCPError

from api.requests import System, detail
from harness.processes import Fleet
from harness.waiting import until
from millstream.shared import runs
from millstream.shared.redis import connect

ACCEPT = {"accept": "application/json, text/event-stream"}


@asynccontextmanager
async def connected(system: System) -> AsyncIterator[Client]:
    # No fixture: the same task must enter and exit the client.
    async with Client(f"{system.url}/mcp/") as client:
        yield client


async def all_tools(client: Client) -> dict[str, Any]:
    listed: dict[str, Any] = {}
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        listed |= {tool.name: tool for tool in page.tools}
        cursor = page.next_cursor
        if cursor is None:
            return listed


def texts(result: Any) -> list[str]:
    return [content.text for content in result.content]


async def call(http: httpx.AsyncClient, method: str, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    response = await http.post("/mcp/", json=body, headers=ACCEPT)
    assert response.status_code == 200, response.text
    [data] = [line for line in response.text.splitlines() if line.startswith("data: {")][-1:]
    return json.loads(data.removeprefix("data: "))


async def test_every_assistant_is_a_tool(system: System, http: httpx.AsyncClient) -> None:
    async with connected(system) as tools:
        created = []
        for name in ("two steps!", "steps", "  "):
            body = {
                "graph_id": "steps",
                "name": name,
                "context": {"n": 2},
                "description": f"is {name}",
            }
            created.append((await http.post("/assistants", json=body)).json()["assistant_id"])
        listed = await all_tools(tools)
        assert listed["chat"].input_schema["type"] == "object"
        assert "messages" in listed["chat"].input_schema["properties"]
        assert listed["chat"].description == "Runs the agent 'chat'."
        two_steps = listed["two_steps"]
        assert (two_steps.title, two_steps.description) == ("two steps!", "is two steps!")
        assert f"steps-{created[1]}" in listed
        assert f"assistant-{created[2]}" in listed
        result = await tools.call_tool("two_steps", {"items": []})
        assert result.structured_content == {"items": [0, 1]}
        for assistant in created:
            await http.delete(f"/assistants/{assistant}")


async def test_a_tool_call_is_a_run_with_progress(system: System) -> None:
    async with connected(system) as tools:
        outputs: list[Any] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            outputs.append((progress, message))

        result = await tools.call_tool("nested", {"text": "x"}, progress_callback=note)
        assert not result.is_error
        assert result.structured_content == {"text": "x+pre+c1+c2+post"}
        [content] = result.content
        assert json.loads(content.text) == result.structured_content  # type: ignore[union-attr]
        await until(lambda: len(outputs) == 3)
        assert outputs == [(1, "pre"), (2, "child"), (3, "post")]


async def test_a_failed_and_an_interrupted_run_are_tool_errors(system: System) -> None:
    async with connected(system) as tools:
        failed = await tools.call_tool("boom", {})
        assert failed.is_error
        assert texts(failed) == ["ValueError: boom"]
        assert failed.structured_content["__error__"]["message"] == "boom"
        paused = await tools.call_tool("approval", {"topic": "t"})
        assert paused.is_error  # else a model would take it for the answer
        said, question = texts(paused)
        assert "paused" in said
        assert json.loads(question) == {"question": "approve t?"}
        [outputs] = paused.structured_content["__interrupt__"]
        assert outputs["value"] == {"question": "approve t?"}


async def test_a_tool_call_leaks_no_key(system: System, http: httpx.AsyncClient) -> None:
    async with connected(system) as tools:
        before = (await http.post("/threads/count", json={})).json()
        await tools.call_tool("steps", {"items": []})
        assert (await http.post("/threads/count", json={})).json() == before


async def test_invalid_requests_are_rejected(system: System, http: httpx.AsyncClient) -> None:
    async with connected(system) as tools:
        with pytest.raises(MCPError, match="unknown tool 'nope'"):
            await tools.call_tool("nope", {})
        assert (await call(http, "tools/list", cursor="x"))["error"]["code"] == -32602
        assert (await call(http, "nope"))["error"]["code"] == -32601
        broken = await http.post("/mcp/", content=b"{", headers=ACCEPT)
        assert broken.status_code == 400
        assert (
            await http.post("/mcp/", json={}, headers={"accept": "text/html"})
        ).status_code == 406
        assert detail(await http.get("/mcp/")).startswith(
            "This server sends no messages of its own"
        )
        assert (await http.get("/mcp/")).status_code == 405
        refused = await http.delete("/mcp/")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert (await http.get("/mcp")).status_code == 405


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("chat", {}, "arguments: 'messages' is a required property"),
        ("chat", {"messages": 5}, "arguments.messages: "),
        ("chat", {"messages": [{"role": "user"}]}, "arguments.messages.0: "),
        ("nested", {"text": 5}, "arguments.text: 5 is not of type 'string'"),
    ],
)
async def test_arguments_are_checked_before_the_run(
    http: httpx.AsyncClient, tool: str, arguments: Any, problem: str
) -> None:
    answer = await call(http, "tools/call", name=tool, arguments=arguments)
    assert answer["error"]["code"] == -32602
    assert answer["error"]["message"].startswith(problem)


async def test_many_assistants_are_listed_quickly(system: System, http: httpx.AsyncClient) -> None:
    created = [
        (await http.post("/assistants", json={"graph_id": graph, "name": f"agent {n}"})).json()
        for n, graph in enumerate(["chat", "desk", "echo", "nested_chat"] * 3 + ["chat", "desk"])
    ]
    async with connected(system) as tools:
        listed = await all_tools(tools)
        agents = [listed[f"agent_{n}"] for n in range(14)]
        sizes = [len(each.model_dump_json(by_alias=True, exclude_none=True)) for each in agents]
        assert max(sizes) < 500
        said = {"messages": [{"role": "user", "content": "hi"}]}
        result = await tools.call_tool("agent_0", said)
        assert result.structured_content["messages"][0]["content"] == "hi"
        assert agents[0].output_schema == {"type": "object", "properties": {"messages": {}}}
    for each in created:
        await http.delete(f"/assistants/{each['assistant_id']}")


async def test_tools_are_listed_in_pages(system: System, http: httpx.AsyncClient) -> None:
    bodies = [{"graph_id": "steps", "name": f"paged {n}"} for n in range(101)]
    created = await asyncio.gather(*(http.post("/assistants", json=body) for body in bodies))
    async with connected(system) as tools:
        first = await tools.list_tools()
        assert len(first.tools) == 100
        rest = await tools.list_tools(cursor=first.next_cursor)
        names = [tool.name for tool in (*first.tools, *rest.tools)]
        assert rest.next_cursor is None
        assert {f"paged_{n}" for n in range(101)} < set(names)
        assert len(names) == len(set(names))
    ids = [each.json()["assistant_id"] for each in created]
    await asyncio.gather(*(http.delete(f"/assistants/{assistant}") for assistant in ids))


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:6274", 200),
        ("http://127.0.0.1", 200),
        ("https://[::1]:8443", 200),
        ("https://evil.example", 403),
        ("https://localhost.evil.example", 403),
        ("http://localhost@evil.example", 403),
        ("http://localhost/x", 403),
        ("http://[", 403),
        ("null", 403),
    ],
)
async def test_other_origins_are_rejected(
    http: httpx.AsyncClient, origin: str, status: int
) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    response = await http.post("/mcp/", json=body, headers={**ACCEPT, "origin": origin})
    assert response.status_code == status
    if status == 403:
        assert "allow_origins" in detail(response)
        for method in ("GET", "DELETE"):
            again = await http.request(method, "/mcp/", headers={"origin": origin})
            assert again.status_code == 403


async def test_configured_origins_are_accepted(system: System, tmp_path: Path) -> None:
    cors = {
        "allow_origins": ["https://app.example"],
        "allow_origin_regex": "https://[a-z]+\\.our\\.example",
    }
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"a": "./a.py:a"}, "http": {"cors": cors}}))
    with Fleet(system.fleet.redis_url, MILLSTREAM_PUBLIC_URL="https://me.example/api") as fleet:
        api = fleet.api(config).wait_ready()
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        async with httpx.AsyncClient(base_url=api.url) as http:
            for origin, status in (
                ("https://app.example", 200),
                ("https://one.our.example", 200),
                ("https://me.example", 200),
                ("https://one.our.example.evil", 403),
                ("https://app.example:444", 403),
                ("http://app.example", 403),
            ):
                response = await http.post("/mcp/", json=body, headers={**ACCEPT, "origin": origin})
                assert response.status_code == status, origin


async def test_a_long_call_sends_keepalives(system: System, http: httpx.AsyncClient) -> None:
    knobs = {"configurable": {"n": 1, "delay": 1}}
    body = {"graph_id": "steps", "name": "long call", "config": knobs}
    assistant = (await http.post("/assistants", json=body)).json()["assistant_id"]
    request = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "long_call", "arguments": {}},
    }  # fmt: skip
    with Fleet(system.fleet.redis_url, KEEPALIVE_INTERVAL_SECS="0.1") as fleet:
        api = fleet.api().wait_ready()
        async with httpx.AsyncClient(base_url=api.url, timeout=30) as chatty:
            response = await chatty.post("/mcp/", json=request, headers=ACCEPT)
            assert 3 <= response.text.count(": heartbeat\r\n") <= 30
            [data] = [line for line in response.text.splitlines() if line.startswith("data: {")]
            outputs = json.loads(data.removeprefix("data: "))["result"]
            assert outputs["structuredContent"] == {"items": [0]}
        async with Client(f"{api.url}/mcp/") as tools:  # it accepts the comments
            assert (await tools.call_tool("long_call", {})).structured_content == {"items": [0]}
    await http.delete(f"/assistants/{assistant}")


async def test_a_tool_call_may_have_a_context(web: httpx.AsyncClient) -> None:
    answer = await call(web, "tools/call", name="probe", arguments={}, context={"user": "ann"})
    assert answer["result"]["structuredContent"]["seen"]["user"] == "ann"


async def test_a_disconnect_cancels_the_run(system: System, http: httpx.AsyncClient) -> None:
    mark = str(uuid.uuid4())
    knobs = {"configurable": {"n": 100, "delay": 0.3}}
    body = {"graph_id": "steps", "name": mark, "config": knobs}
    assistant = (await http.post("/assistants", json=body)).json()["assistant_id"]
    request = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": mark, "arguments": {}},
    }  # fmt: skip
    redis = connect(system.fleet.redis_url)

    async def live() -> set[str]:
        return {run_id for _, run_id, _ in await runs.live_runs(redis)}

    try:
        before = await live()
        async with http.stream("POST", "/mcp/", json=request, headers=ACCEPT) as response:
            assert response.status_code == 200

            reading = asyncio.create_task(response.aread())

            async def begun() -> set[str]:
                assert not reading.done(), response.text
                return await live() - before

            [run] = await until(begun)
            reading.cancel()

        async def ended() -> bool:
            return run not in await live()

        await until(ended)  # long before its 30 s are over
    finally:
        await redis.aclose()
    await http.delete(f"/assistants/{assistant}")
