"""Two APIs behind the nginx of compose.yaml, with its very configuration: streams, disconnects, and APIs that end.

nginx waits for 2 s here instead of 60 s, and keepalives come every 0.1 s instead of 5 s.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from e2e.conftest import Cluster, NodeLog, Thread, request
from e2e.raw_http import RawResponse, call_api, parse
from harness.nginx import Nginx, of_compose, program
from harness.processes import Process
from harness.waiting import until
from millstream.shared.settings import Settings

pytestmark = [
    pytest.mark.xdist_group("stream_cluster"),
    pytest.mark.skipif(program() is None, reason="nginx is not installed"),
]

SILENCE = 25  # keepalives: more than nginx waits


class Front:
    """An nginx and the APIs behind it."""

    def __init__(self, nginx: Nginx, apis: list[Process]) -> None:
        self.nginx = nginx
        self.apis = apis

    async def stream(self, log: NodeLog) -> RawResponse:
        """Starts a run that writes two events and waits for its gate."""
        body = request("gate", configurable={"log": str(log), "n": 2}, stream_mode="custom")
        body["on_disconnect"] = "continue"
        response = await RawResponse.open(self.nginx.url, "POST", "/runs/stream", body)
        assert response.status == 200
        await response.until_events(2, "custom")
        return response


@pytest.fixture
async def front(stream_cluster: Cluster, tmp_path: Path) -> AsyncIterator[Front]:
    """Two APIs of their own behind an nginx."""
    apis = [stream_cluster.fleet.api(), stream_cluster.fleet.api()]
    urls = [api.wait_ready().url for api in apis]
    nginx = Nginx(tmp_path / "nginx", of_compose(tmp_path / "nginx", urls))
    try:
        await until(nginx.listens)
        yield Front(nginx, apis)
    finally:
        nginx.stop()
        for api in apis:
            if api.process.poll() is None:
                api.stop()


async def test_streams_pass_at_once_and_outlast_silence(front: Front, log: NodeLog) -> None:
    async with await front.stream(log) as response:
        for _ in range(SILENCE):
            await response.until_heartbeat()
        log.open_gate()
        events = await response.events()
    assert [each.name for each in events] == ["metadata", *["custom"] * 3, "end"]


async def test_a_disconnect_cancels_the_run(front: Front, log: NodeLog) -> None:
    thread = await Thread.create(front.nginx.url)
    async with await thread.stream("linger", configurable={"log": str(log)}) as response:
        await log.noted("begin")
        run_id = response.ids[1]
    assert await thread.ended(run_id) == "interrupted"
    assert (await thread.run(run_id))["cancel_reason"] == "disconnect"


@pytest.mark.parametrize("ends", ["killed", "stopped"])
async def test_a_stream_continues_at_the_other_api(front: Front, log: NodeLog, ends: str) -> None:
    streams = [await front.stream(log), await front.stream(log)]
    reads = {asyncio.create_task(stream.rest()): stream for stream in streams}
    api = front.apis[0]
    api.kill() if ends == "killed" else api.stop()
    [read], _ = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
    cut = reads.pop(read)
    assert not cut.ended
    last = (await cut.until_events(2, "custom"))[-1]
    async with await RawResponse.open(
        front.nginx.url, "GET", cut.headers["location"], headers={"last-event-id": str(last.id)}
    ) as again:
        log.open_gate()
        assert [each.name for each in await again.events()] == ["custom", "end"]
    [read] = reads
    assert parse(await read)[-1].name == "end"
    for stream in streams:
        await stream.close()
    assert [(await call_api(front.nginx.url, "GET", "/ok"))[0] for _ in range(4)] == [200] * 4


async def test_a_websocket_passes(front: Front) -> None:
    thread = await Thread.create(front.nginx.url)
    url = f"ws://127.0.0.1:{front.nginx.port}/threads/{thread.id}/stream/events"
    async with connect(url) as websocket:
        await websocket.ping()


async def test_nginx_refuses_large_bodies_and_the_routes_of_operators(front: Front) -> None:
    size = Settings().max_body + 1
    with socket.create_connection(("127.0.0.1", front.nginx.port), timeout=10) as client:
        client.sendall(f"POST /runs HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    for path in ("/ops/scaling", "/metrics"):
        async with await RawResponse.open(front.nginx.url, "GET", path) as response:
            assert response.status == 404


async def test_the_access_log_has_no_query_and_names_both_apis(front: Front) -> None:
    for _ in range(4):
        await call_api(front.nginx.url, "GET", "/info?token=secret")
    lines = await until(lambda: len(n := front.nginx.requests().splitlines()) >= 4 and n)
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert {each["path"] for each in records} == {"/info"}
    assert {f"http://{each['api']}" for each in records} == {api.url for api in front.apis}
    assert "secret" not in front.nginx.requests()


async def test_nginx_lets_open_requests_end_and_then_cuts_streams(
    front: Front, tmp_path: Path
) -> None:
    first, second = NodeLog(tmp_path / "first"), NodeLog(tmp_path / "second")
    async with await front.stream(first) as ending, await front.stream(second) as silent:
        front.nginx.drain()
        await until(lambda: not front.nginx.listens(), what="the end of new connections")
        first.open_gate()
        assert (await ending.events())[-1].name == "end"
        await silent.rest()
        assert not silent.ended
    await until(front.nginx.has_ended)
    second.open_gate()
