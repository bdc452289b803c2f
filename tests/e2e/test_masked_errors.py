"""MASK_ERRORS: the text of a graph's exception is in the log of the worker, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from graphs.marked import MARKER
from harness.event_stream import follow, start
from harness.processes import Fleet, Process
from harness.waiting import until
from harness.webhook_receiver import Receiver
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.events.modes import MODES

pytestmark = pytest.mark.xdist_group("masked_errors")

GRAPHS = Path(__file__).parents[1] / "graphs"
NAMES = ("shown", "masked")  # the queue, the langgraph.json, and the begin of the graphs' names
ALL_MODES = list(MODES)


@dataclass
class Site:
    """An API, and a worker without and one with MASK_ERRORS, each for graphs of its own."""

    api: Process
    workers: dict[str, Process]
    http: httpx.AsyncClient

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.http.post(path, json=body)

    async def text(self, path: str) -> str:
        return (await self.http.get(path)).text

    async def run(self, graph: str, at: str, **body: Any) -> tuple[str, str, str]:
        """Executes a run on a new thread; returns the thread, the run and the response."""
        thread = (await self.post("/threads")).json()["thread_id"]
        response = await self.post(
            f"/threads/{thread}/runs/stream", assistant_id=graph, input={"at": at}, **body
        )
        return thread, response.headers["location"].split("/")[4], response.text


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Any]]:
    with (
        EmbeddedRedis(tmp_path_factory.mktemp("redis"), modules=False) as redis,
        Fleet(redis.url, WEBHOOK_NETWORKS="127.0.0.1/32", LOG_LEVEL="INFO") as fleet,
    ):
        api = fleet.api()
        workers = {
            name: fleet.worker(
                GRAPHS / f"{name}.json", queue=name, MASK_ERRORS=str(name == "masked")
            )
            for name in NAMES
        }
        for process in (api, *workers.values()):
            process.wait_ready()
        yield api, workers


@pytest.fixture
async def site(started: tuple[Process, dict[str, Process]]) -> AsyncIterator[Site]:
    api, workers = started
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as http:
        yield Site(api, workers, http)


async def texts_of(site: Site, name: str) -> dict[str, str]:
    """Returns what clients get of the exceptions of the graphs with this name, by door."""
    texts: dict[str, str] = {}
    # Its process starts meanwhile.
    isolated = asyncio.create_task(site.run(f"{name}_apart", "tool", stream_mode=ALL_MODES))
    for at in ("node", "timeout", "group", "tool", "model"):
        thread, run, texts[f"stream {at}"] = await site.run(
            name, at, stream_mode=ALL_MODES, stream_subgraphs=True, stream_resumable=True
        )
        for door in (f"runs/{run}/join", "state?subgraphs=true"):
            texts[f"{door.split('/')[-1]} {at}"] = await site.text(f"/threads/{thread}/{door}")
        history = await site.post(f"/threads/{thread}/history", limit=10)
        texts[f"history {at}"] = history.text
    texts["thread"] = await site.text(f"/threads/{thread}")
    texts["replay"] = await site.text(f"/threads/{thread}/runs/{run}/stream")
    search = await site.post("/threads/search", ids=[thread])
    texts["search"] = search.text
    for mode in ("tasks", "debug", "lifecycle"):
        _, _, texts[f"mode {mode}"] = await site.run(name, "tool", stream_mode=[mode])
    _, _, texts["mode checkpoints"] = await site.run(name, "tool", stream_mode=["checkpoints"])
    _, _, texts["a value"] = await site.run(name, "object", stream_mode=["values"])
    with Receiver() as receiver:
        run_input = {"assistant_id": name, "input": {"at": "node"}}
        texts["wait"] = (await site.post("/runs/wait", **run_input, webhook=receiver.url)).text
        [request] = await until(lambda: receiver.requests)
        texts["webhook"] = request.body.decode()
    texts |= await _texts_of_calls(site, name, thread)
    for at in ("tool", "model"):
        thread = (await site.post("/threads")).json()["thread_id"]
        async with follow(site.http, thread) as events:
            await start(site.http, thread, name, input={"at": at})
            texts[f"protocol {at}"] = str(await events.ended())
    _, _, texts["isolated"] = await isolated
    return texts


async def _texts_of_calls(site: Site, name: str, thread: str) -> dict[str, str]:
    """Returns the responses of calls to the graph, and of the other protocols."""
    factory = f"{name}_factory"
    for value in ("first", "raise"):  # LangGraph calls a reducer for the second value
        update = await site.post(f"/threads/{thread}/state", values={"reduced": value})
    assert update.status_code == 422
    schemas = await site.http.get(f"/assistants/{factory}/schemas")
    assert schemas.status_code == 424
    message = {"role": "user", "messageId": "1", "parts": [{"kind": "text", "text": "x"}]}
    call = {"name": name, "arguments": {"at": "node"}}
    headers = {"accept": "application/json, text/event-stream"}
    mcp = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    a2a = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message}}
    return {
        "update": update.text,
        "schemas": schemas.text,
        "run of a factory": (await site.post("/runs/wait", assistant_id=factory, input={})).text,
        "MCP": (await site.http.post("/mcp/", json=mcp, headers=headers)).text,
        "A2A": (await site.http.post(f"/a2a/{factory}", json=a2a)).text,
    }


async def test_no_client_gets_the_text_of_an_exception(site: Site) -> None:
    masked = await texts_of(site, "masked")
    assert [door for door, text in masked.items() if MARKER in text] == []
    for door in ("stream node", "join tool", "thread", "wait", "webhook", "isolated", "MCP"):
        assert "The run failed. (run " in masked[door], masked[door]
    assert '"error":"RunError"' in masked["wait"]
    log = "\n".join(site.workers["masked"].lines)
    for origin in ("node", "timeout", "first", "tool", "model", "factory", "reducer"):
        assert f"{origin} {MARKER}" in log, origin


async def test_without_the_setting_each_of_these_doors_has_the_text(site: Site) -> None:
    texts = await texts_of(site, "shown")
    assert [door for door, text in texts.items() if MARKER not in text] == []
    assert '"error":"ValueError","message":"node marker' in texts["wait"]
    assert "The run failed." not in str(texts)
