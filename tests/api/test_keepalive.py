"""Keepalives of open connections."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from api.requests import STEPS, System
from golden.normalise import parse_sse
from harness.processes import Fleet

INTERVAL = 0.1


@pytest.fixture(scope="module")
def chatty_api(system: System) -> Iterator[str]:
    """An API process that sends keepalives ten times a second."""
    with Fleet(system.fleet.redis_url, KEEPALIVE_INTERVAL_SECS=str(INTERVAL)) as fleet:
        yield fleet.api().wait_ready().url


@pytest.fixture
async def chatty(chatty_api: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=chatty_api, timeout=30) as client:
        yield client


LATER: dict[str, Any] = {**STEPS, "after_seconds": 0.6}


@pytest.mark.parametrize("stateless", [False, True])
async def test_a_stream_of_a_queued_run_sends_keepalives(
    chatty: httpx.AsyncClient, thread: str, stateless: bool
) -> None:
    base = "/runs" if stateless else f"/threads/{thread}/runs"
    response = await chatty.post(f"{base}/stream", json=LATER)
    before, metadata, after = response.text.partition("event: metadata")
    assert metadata
    beats = before.split("\r\n")
    assert beats.pop() == ""
    assert set(beats) == {": heartbeat"}
    assert 3 <= len(beats) <= 30
    assert parse_sse(metadata + after)[-1] == ("end", {"status": "success"})


async def test_a_keepalive_has_no_blank_line(chatty: httpx.AsyncClient, thread: str) -> None:
    body = {**STEPS, "config": {"configurable": {"n": 6, "delay": 0.12}}}
    response = await chatty.post(f"/threads/{thread}/runs/stream", json=body)
    lines = response.text.split("\r\n")
    beats = [at for at, line in enumerate(lines) if line.startswith(":")]
    assert len(beats) >= 4
    assert {lines[at] for at in beats} == {": heartbeat"}
    # The next line is an event or another comment; a comment never splits an event.
    assert all(lines[at + 1].startswith(("event: ", ":")) for at in beats)
    assert all(lines[at - 1] == "" or lines[at - 1].startswith(":") for at in beats if at)
    names = [name for name, _ in parse_sse(response.text)]
    assert names == ["metadata", *["values"] * 7, "end"]


async def test_events_do_not_delay_keepalives(chatty: httpx.AsyncClient, thread: str) -> None:
    body = {
        "assistant_id": "chat",
        "input": {"messages": []},
        "stream_mode": "messages-tuple",
        "config": {"configurable": {"tokens": 30, "delay": 0.02}},
    }
    response = await chatty.post(f"/threads/{thread}/runs/stream", json=body)
    assert response.text.count(": heartbeat\r\n") >= 3


async def test_wait_and_join_send_white_space_as_keepalive(
    chatty: httpx.AsyncClient, thread: str
) -> None:
    path = f"/threads/{thread}/runs"
    waited = await chatty.post(f"{path}/wait", json=LATER)
    run = (await chatty.post(path, json=LATER)).headers["content-location"]
    joined = await chatty.get(f"{run}/join")
    run = (await chatty.post("/runs", json={**STEPS, "after_seconds": 0.6})).json()["run_id"]
    stateless = await chatty.get(f"/runs/{run}/join")
    for response in (waited, joined, stateless):
        text = response.text
        spaces = len(text) - len(text.lstrip("\n"))
        assert 3 <= spaces <= 30
        assert text[spaces] == "{"
        assert response.json()["items"][:3] == [0, 1, 2]


async def test_the_headers_do_not_wait_for_the_run(chatty: httpx.AsyncClient, thread: str) -> None:
    loop = asyncio.get_running_loop()
    for path in ("stream", "wait"):
        begun = loop.time()
        url = f"/threads/{thread}/runs/{path}"
        async with chatty.stream("POST", url, json={**STEPS, "after_seconds": 60}) as response:
            assert loop.time() - begun < 5
            assert response.status_code == 200
            location = response.headers["content-location"]
            assert (await chatty.post(f"{location}/cancel")).status_code == 202
            text = (await response.aread()).decode()
        if path == "stream":
            assert parse_sse(text) == [("end", {"status": "interrupted"})]
