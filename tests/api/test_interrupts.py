"""An interrupt may have a schema for its answer, which every view of the interrupt contains."""

import json
from typing import Any

import httpx

from golden.normalise import parse_sse


async def test_an_interrupt_has_the_schema_of_its_answer(
    web: httpx.AsyncClient, thread: str
) -> None:
    path = f"/threads/{thread}"
    body = {"assistant_id": "numbered", "input": {"path": []}, "stream_mode": ["updates"]}
    streamed: dict[str, Any] = dict(
        parse_sse((await web.post(f"{path}/runs/stream", json=body)).text)
    )
    [interrupt] = streamed["updates"]["__interrupt__"]
    assert interrupt["response_schema"] == {"type": "integer"}
    state = (await web.get(f"{path}/state")).json()
    [waiting] = (await web.get(path)).json()["interrupts"].values()
    for [question] in (state["interrupts"], state["tasks"][0]["interrupts"], waiting):
        assert question["value"] == "how many?"
        assert question["response_schema"] == {"type": "integer"}
    async with web.stream(
        "POST", f"{path}/stream/events", json={"channels": ["input"]}, timeout=10
    ) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: ") and "how many?" in line:
                assert (
                    json.loads(line[6:])["params"]["data"]["response_schema"]["type"] == "integer"
                )
                break
    body = {"assistant_id": "numbered", "command": {"resume": 3}}
    assert (await web.post(f"{path}/runs/wait", json=body)).json()["path"] == [["number", 3]]


async def test_an_interrupt_without_a_schema_has_none(web: httpx.AsyncClient, thread: str) -> None:
    await web.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "approval", "input": {}})
    state = (await web.get(f"/threads/{thread}/state")).json()
    assert [set(each) for each in state["interrupts"]] == [{"id", "value"}]
