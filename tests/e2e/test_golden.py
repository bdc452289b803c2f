"""Every graph in every mode: event names and payloads equal those of the reference server."""

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from golden.normalise import normalise, parse_sse

CASES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden/streams.json").read_text())


async def play(http: httpx.AsyncClient, name: str) -> tuple[str, httpx.Response]:
    """Sends the requests that a case builds on, then its own. Returns its thread and the response."""
    case = CASES[name]
    thread = ""
    if case["thread"] == "kept":
        thread, _ = await play(http, case["after"])
    elif case["thread"] == "fresh":
        thread = (await http.post("/threads", json={})).json()["thread_id"]
    elif case["thread"] == "absent":
        thread = str(uuid.uuid4())
    path = case["path"].replace("{thread}", thread)
    return thread, await http.post(path, json=case["request"])


@pytest.mark.parametrize("name", CASES)
async def test_the_stream_equals_the_reference(http: httpx.AsyncClient, name: str) -> None:
    _, response = await play(http, name)
    assert response.status_code == 200, response.text
    events = [list(normalise(event, data)) for event, data in parse_sse(response.text)]
    assert events.pop()[0] == "end"
    assert json.loads(json.dumps(events)) == CASES[name]["events"]
