"""Assistants as tools, by the official client of the Model Context Protocol and by hand."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from mcp import Client, MCPError

from api.told import Running, detail
from harness.waiting import until
from millstream.shared import runs
from millstream.shared.redis import connect

ACCEPT = {"accept": "application/json, text/event-stream"}


@asynccontextmanager
async def connected(system: Running) -> AsyncIterator[Client]:
    # No fixture: the client must be left by the task that entered it.
    async with Client(f"{system.url}/mcp/") as client:
        yield client


async def all_tools(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        found |= {tool.name: tool for tool in page.tools}
        cursor = page.next_cursor
        if cursor is None:
            return found


async def call(http: httpx.AsyncClient, method: str, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    response = await http.post("/mcp/", json=body, headers=ACCEPT)
    assert response.status_code == 200, response.text
    [data] = [line for line in response.text.splitlines() if line.startswith("data: {")][-1:]
    return json.loads(data.removeprefix("data: "))


async def test_every_assistant_is_a_tool(system: Running, http: httpx.AsyncClient) -> None:
    async with connected(system) as tools:
        made = []
        for name in ("two steps!", "steps", "  "):
            body = {
                "graph_id": "steps",
                "name": name,
                "context": {"n": 2},
                "description": f"is {name}",
            }
            made.append((await http.post("/assistants", json=body)).json()["assistant_id"])
        found = await all_tools(tools)
        assert found["chat"].input_schema["type"] == "object"
        assert "messages" in found["chat"].input_schema["properties"]
        assert found["chat"].description == "Runs the agent 'chat'."
        own = found["two_steps"]
        assert (own.title, own.description) == ("two steps!", "is two steps!")
        assert f"steps-{made[1]}" in found
        assert f"assistant-{made[2]}" in found
        result = await tools.call_tool("two_steps", {"items": []})
        assert result.structured_content == {"items": [0, 1]}
        for assistant in made:
            await http.delete(f"/assistants/{assistant}")


async def test_a_call_is_a_run_and_its_progress(system: Running) -> None:
    async with connected(system) as tools:
        told: list[Any] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            told.append((progress, message))

        result = await tools.call_tool("nested", {"text": "x"}, progress_callback=note)
        assert not result.is_error
        assert result.structured_content == {"text": "x+pre+c1+c2+post"}
        [content] = result.content
        assert json.loads(content.text) == result.structured_content  # type: ignore[union-attr]
        await until(lambda: len(told) == 3)
        assert told == [(1, "pre"), (2, "child"), (3, "post")]


async def test_a_run_that_fails_and_one_that_asks(system: Running) -> None:
    async with connected(system) as tools:
        failed = await tools.call_tool("boom", {})
        assert failed.is_error
        assert failed.structured_content["__error__"]["message"] == "boom"
        asks = await tools.call_tool("approval", {"topic": "t"})
        assert not asks.is_error
        [question] = asks.structured_content["__interrupt__"]
        assert question["value"] == {"question": "approve t?"}


async def test_nothing_is_left_of_a_call(system: Running, http: httpx.AsyncClient) -> None:
    async with connected(system) as tools:
        before = (await http.post("/threads/count", json={})).json()
        await tools.call_tool("steps", {"items": []})
        assert (await http.post("/threads/count", json={})).json() == before


async def test_what_is_refused(system: Running, http: httpx.AsyncClient) -> None:
    async with connected(system) as tools:
        with pytest.raises(MCPError, match="no tool 'nope'"):
            await tools.call_tool("nope", {})
        assert (await call(http, "tools/list", cursor="x"))["error"]["code"] == -32602
        assert (await call(http, "nope"))["error"]["code"] == -32601
        broken = await http.post("/mcp/", content=b"{", headers=ACCEPT)
        assert broken.status_code == 400
        assert (
            await http.post("/mcp/", json={}, headers={"accept": "text/html"})
        ).status_code == 406
        assert detail(await http.get("/mcp/")).startswith("This server sends nothing unasked")
        assert (await http.get("/mcp/")).status_code == 405
        assert (await http.delete("/mcp/")).status_code == 404
        assert (await http.get("/mcp")).status_code == 405


async def test_who_leaves_has_the_run_cancelled(system: Running, http: httpx.AsyncClient) -> None:
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
