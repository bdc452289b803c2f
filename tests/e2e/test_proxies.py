"""An API behind nginx, in common configurations: what passes, and when.

Runs are silent for longer than nginx waits (2 s here), so that it would cut a stream without keepalives.
"""

import asyncio
import json
import re
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from langgraph_sdk import get_client
from websockets.asyncio.client import connect

from e2e.conftest import Cluster, NodeLog, Thread, request
from e2e.raw_http import RawResponse, call_api, parse
from harness.nginx import BARE, DEPLOYED, Nginx, included, program
from harness.waiting import until
from millstream.api.http.docs_page import FILES

pytestmark = [
    pytest.mark.xdist_group("stream_cluster"),
    pytest.mark.skipif(program() is None, reason="nginx is not installed"),
]

OURS = DEPLOYED.read_text()
SQUEEZE = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;"
SILENCE = 25  # keepalives of 0.1 s: more than nginx waits


@pytest.fixture(params=["as it comes", "deployed", "gzip", "prefix"])
async def proxied(
    request: pytest.FixtureRequest, stream_cluster: Cluster, tmp_path: Path
) -> AsyncIterator[str]:
    """The URL of an nginx in front of the API."""
    kind = request.param
    config = BARE if kind == "as it comes" else OURS
    http = SQUEEZE if kind == "gzip" else ""
    nginx = Nginx(tmp_path / "nginx", included(stream_cluster.url, config, http=http))
    try:
        await until(nginx.listens)
        yield nginx.url + ("/agents" if kind == "prefix" else "")
    finally:
        nginx.stop()


class Proxied:
    """Requests below the path prefix of a URL."""

    def __init__(self, url: str) -> None:
        self.root, _, prefix = url.partition("//")[2].partition("/")
        self.root, self.prefix = f"http://{self.root}", f"/{prefix}" if prefix else ""

    async def open(self, method: str, path: str, body: Any = None, **headers: str) -> RawResponse:
        return await RawResponse.open(self.root, method, self.prefix + path, body, headers)

    async def call_api(self, method: str, path: str, body: Any = None) -> Any:
        status, urls = await call_api(self.root, method, self.prefix + path, body)
        assert status < 300, urls
        return urls


def gated(log: NodeLog) -> dict[str, Any]:
    return request("gate", configurable={"log": str(log), "n": 2}, stream_mode="custom")


async def test_events_pass_the_proxy_at_once(proxied: str, log: NodeLog) -> None:
    at = Proxied(proxied)
    async with await at.open("POST", "/runs/stream", gated(log)) as response:
        assert response.status == 200
        await response.until_events(
            2, "custom"
        )  # the gate is closed: nothing waits for more to come
        for _ in range(SILENCE):
            await response.until_heartbeat()
        log.open_gate()
        events = await response.events()
    assert [each.name for each in events] == ["metadata", *["custom"] * 3, "end"]
    assert events[-1].data == {"status": "success"}


async def test_gzip_delays_no_event(proxied: str, log: NodeLog) -> None:
    at = Proxied(proxied)
    accept = {"accept-encoding": "gzip"}
    async with await at.open("POST", "/runs/stream", gated(log), **accept) as response:
        squeezed = response.headers.get("content-encoding") == "gzip"
        plain = zlib.decompressobj(16 + zlib.MAX_WBITS)
        text, read = b"", 0
        while b'{"before":1}' not in text:
            assert await response.more(), text
            new, read = response.body[read:], len(response.body)
            text += plain.decompress(new) if squeezed else new
        log.open_gate()
        rest = (await response.rest())[read:]
        text += plain.decompress(rest) if squeezed else rest
    assert parse(text)[-1].data == {"status": "success"}


async def test_a_disconnect_behind_the_proxy_cancels_the_run(
    proxied: str, stream_cluster: Cluster, log: NodeLog
) -> None:
    at = Proxied(proxied)
    thread = await Thread.create(stream_cluster.url)
    body = request("linger", configurable={"log": str(log)}, on_disconnect="cancel")
    for verb in ("stream", "wait"):
        response = await at.open("POST", f"{thread.runs_path}/{verb}", body)
        await log.noted("begin")
        _, run_id = response.ids
        await response.close()
        assert await thread.ended(run_id) == "interrupted"
        assert (await thread.run(run_id))["cancel_reason"] == "disconnect"
        log.path.unlink()


async def test_a_wait_outlasts_the_proxy_timeouts(proxied: str, log: NodeLog) -> None:
    at = Proxied(proxied)
    async with await at.open("POST", "/runs/wait", gated(log)) as response:
        while response.body.count(b"\n") < SILENCE:
            assert await response.more()
        log.open_gate()
        assert json.loads(await response.rest())["items"] == ["passed"]


async def test_the_sdk_reconnects_by_the_location_header(proxied: str, log: NodeLog) -> None:
    async with get_client(url=proxied) as client:
        thread = (await client.threads.create())["thread_id"]
        seen = [
            part.event
            async for part in client.runs.stream(thread, "track", input={}, stream_mode="custom")
        ]
        assert seen.count("custom") == 3
        run = await client.runs.create(thread, "track", input={})
        await client.runs.join(thread, run["run_id"])
        joined = [part.event async for part in client.runs.join_stream(thread, run["run_id"])]
        assert joined[-1] == "end"
    # A client that adds its prefix to `Location` gets the stream.
    at = Proxied(proxied)
    async with await at.open("POST", "/runs/stream", request("track")) as response:
        back = response.headers["location"]
        await response.rest()
    async with await at.open("GET", back) as again:
        assert (await again.events())[-1].name == "end"


async def test_urls_in_responses_use_the_clients_address(
    proxied: str, request: pytest.FixtureRequest, stream_cluster: Cluster
) -> None:
    await call_api(stream_cluster.url, "GET", "/openapi.json")  # made once, which takes a while
    kind = request.node.callspec.params["proxied"]
    at = Proxied(proxied)
    [chat] = await at.call_api("POST", "/assistants/search", {"graph_id": "chat"})
    card = "/.well-known/agent-card.json?assistant_id=" + chat["assistant_id"]
    described = await at.call_api("GET", "/openapi.json")
    urls = [
        described["servers"][0]["url"],
        *(await at.call_api("GET", card))["supportedInterfaces"],
    ]
    urls_only = [each if isinstance(each, str) else each["url"] for each in urls]
    assert urls_only
    if kind == "as it comes":  # it passes on no host: MILLSTREAM_PUBLIC_URL is for such
        assert not any(f"{url}/".startswith(f"{proxied}/") for url in urls_only)
    else:
        assert all(f"{url}/".startswith(f"{proxied}/") for url in urls_only), urls_only


async def test_the_page_of_the_api_and_its_files_pass_the_proxy(proxied: str) -> None:
    page = f"{proxied}/docs"
    async with httpx.AsyncClient() as browser:
        links = re.findall(r'(?:href|src)="(docs/[^"]+)"', (await browser.get(page)).text)
        files = [await browser.get(urljoin(page, link)) for link in links]
        described = await browser.get(urljoin(page, "openapi.json"))
    assert len(files) == len(FILES)
    assert {file.status_code for file in (*files, described)} == {200}
    assert any("SwaggerUIBundle" in file.text for file in files)
    assert all("default-src 'none'" in f.headers["content-security-policy"] for f in files)


async def test_a_websocket_passes_the_proxy(stream_cluster: Cluster, tmp_path: Path) -> None:
    nginx = Nginx(tmp_path / "nginx", included(stream_cluster.url, OURS))
    try:
        await until(nginx.listens)
        thread = await Thread.create(stream_cluster.url)
        for prefix in ("", "/agents"):
            url = f"ws://127.0.0.1:{nginx.port}{prefix}/threads/{thread.id}/stream/events"
            async with connect(url) as socket:
                await socket.ping()
        assert "[error]" not in nginx.errors()
    finally:
        nginx.stop()


async def test_streams_work_over_http_2(
    stream_cluster: Cluster, tmp_path: Path, log: NodeLog
) -> None:
    nginx = Nginx(tmp_path / "nginx", included(stream_cluster.url, OURS, listen=" http2"))
    try:
        await until(nginx.listens)
        curl = await asyncio.create_subprocess_exec(
            "curl", "-sN", "--http2-prior-knowledge", "--max-time", "30", "-w", "%{http_version}",
            "-H", "content-type: application/json", "-d", json.dumps(gated(log)),
            f"{nginx.url}/runs/stream", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert curl.stdout is not None
        text, beats = b"", 0
        async with asyncio.timeout(20):
            while b'{"before":1}' not in text or beats < SILENCE:
                line = await curl.stdout.readline()
                assert line, text
                text += line
                beats += b": heartbeat" in line
            log.open_gate()
            text += await curl.stdout.read()
        assert text.endswith(b"2")
        assert b'{"status":"success"}' in text
        await curl.wait()
    finally:
        nginx.stop()
