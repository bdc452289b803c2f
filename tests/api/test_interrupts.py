"""A question may say what its answer looks like: it is told wherever the question is."""

import json
from typing import Any

import httpx

from golden.normalise import parse_sse


async def test_the_schema_of_an_answer_is_told(web: httpx.AsyncClient, thread: str) -> None:
    place = f"/threads/{thread}"
    body = {"assistant_id": "numbered", "input": {"path": []}, "stream_mode": ["updates"]}
    told: dict[str, Any] = dict(parse_sse((await web.post(f"{place}/runs/stream", json=body)).text))
    [asked] = told["updates"]["__interrupt__"]
    assert asked["response_schema"] == {"type": "integer"}
    state = (await web.get(f"{place}/state")).json()
    [waiting] = (await web.get(place)).json()["interrupts"].values()
    for [question] in (state["interrupts"], state["tasks"][0]["interrupts"], waiting):
        assert question["value"] == "how many?"
        assert question["response_schema"] == {"type": "integer"}
    async with web.stream(
        "POST", f"{place}/stream/events", json={"channels": ["input"]}, timeout=10
    ) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: ") and "how many?" in line:
                assert (
                    json.loads(line[6:])["params"]["data"]["response_schema"]["type"] == "integer"
                )
                break
    body = {"assistant_id": "numbered", "command": {"resume": 3}}
    assert (await web.post(f"{place}/runs/wait", json=body)).json()["path"] == [["number", 3]]


async def test_a_question_without_a_schema_has_none(web: httpx.AsyncClient, thread: str) -> None:
    await web.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "approval", "input": {}})
    state = (await web.get(f"/threads/{thread}/state")).json()
    assert [set(each) for each in state["interrupts"]] == [{"id", "value"}]
