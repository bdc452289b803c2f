"""With LANGGRAPH_AES_KEY no text of a user reaches Redis in plain, and clients read what they would without it.

MONITOR shows each command with its arguments, those of scripts too. So it also finds a text that is only stored for a
moment: in a call to a worker, in its reply, or in an event that is deleted.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client as McpClient

from harness.a2a_client import message_request, open_a2a_client
from harness.event_stream import start
from harness.processes import Fleet
from harness.redis_modules import require_modules
from harness.waiting import until
from harness.webhook_receiver import Receiver
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.redis import Client, connect

MARKER = "the-text-of-a-user"
READABLE = "a-readable-text"  # in metadata, which stay readable
OLD, NEW, OTHER = "o" * 32, "n" * 16, "x" * 24
GRAPH = Path(__file__).parents[1] / "graphs" / "repeating.py"
ALL_MODES = [
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "debug",
    "tasks",
    "checkpoints",
    "events",
]


class Site:
    """An API and a worker with a key, and the receiver of their webhooks."""

    def __init__(self, fleet: Fleet, config: Path, receiver: Receiver) -> None:
        self.fleet = fleet
        self.config = config
        self.receiver = receiver
        self.api = fleet.api(config, LANGGRAPH_AES_KEY=OLD)
        self.worker = fleet.worker(config, LANGGRAPH_AES_KEY=OLD)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_modules()
    folder = tmp_path_factory.mktemp("encryption")
    config = folder / "langgraph.json"
    config.write_text(
        json.dumps(
            {
                "graphs": {"repeating": f"{GRAPH}:repeating", "factory": f"{GRAPH}:factory"},
                "webhooks": {"url": {"disable_loopback": False}},
                "http": {"configurable_headers": {"includes": ["x-secret"]}},
            }
        )
    )
    with (
        Receiver() as receiver,
        EmbeddedRedis(folder / "redis", appendonly=False) as server,
        Fleet(server.url, KEEPALIVE_INTERVAL_SECS="0.2") as fleet,
    ):
        site = Site(fleet, config, receiver)
        site.worker.wait_ready()
        site.api.wait_ready()
        yield site


@pytest.fixture
async def redis(site: Site) -> AsyncIterator[Client]:
    client = connect(site.fleet.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def http(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-secret": MARKER}
    async with httpx.AsyncClient(base_url=site.api.url, timeout=30, headers=headers) as client:
        yield client


def body(then: str = "", **more: Any) -> dict[str, Any]:
    """Returns a request for a run that has the marker in each of its fields but the metadata."""
    return {
        "assistant_id": "repeating",
        "input": {"text": MARKER, "then": then},
        "config": {
            "configurable": {"secret": MARKER},
            "metadata": {"text": MARKER},
            "tags": [MARKER],
        },
        "metadata": {"shown": READABLE},
        **more,
    }


@asynccontextmanager
async def watched(redis_url: str, leaks: list[str]) -> AsyncIterator[None]:
    """Adds each command inside of the block that has the marker to `leaks`."""
    client, other = connect(redis_url, reply_timeout=None), connect(redis_url)
    done = f"end-of-monitor-{uuid.uuid4().hex}"
    started = asyncio.Event()

    async def read() -> None:
        async with client.monitor() as monitor:
            started.set()
            command = ""
            while done not in command:
                command = (await monitor.next_command())["command"]
                if MARKER in command:
                    leaks.append(command[:300])

    reading = asyncio.create_task(read())
    try:
        await started.wait()
        yield
        await until(lambda: _ended(other, reading, done))
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await client.aclose()
        await other.aclose()


async def _ended(redis: Client, reading: "asyncio.Task[None]", done: str) -> bool:
    await redis.echo(done)
    return reading.done()


async def scan(redis: Client, text: str) -> list[bytes]:
    """Returns the keys that have the text in their name or in their raw value."""
    await redis.config_set("rdbcompression", "no")  # DUMP would compress long strings
    leaks = []
    async for key in redis.scan_iter(count=1000):
        raw = await redis.dump(key) or b""
        if await redis.type(key) == b"ReJSON-RL":
            raw += await redis.execute_command("JSON.GET", key)  # type: ignore[no-untyped-call]
        if text.encode() in key + raw or text.encode().hex().encode() in raw:
            leaks.append(key)
    return leaks


async def ok(response: Any) -> Any:
    """Returns the JSON of a response whose status is 2xx."""
    response = await response
    assert response.is_success, response.text
    return response.json() if response.content else None


async def test_no_text_of_a_user_reaches_redis(
    site: Site, http: httpx.AsyncClient, redis: Client
) -> None:
    leaks: list[str] = []
    async with watched(site.fleet.redis_url, leaks):
        thread = await _runs_and_states(http)
        await _crons_webhooks_and_batches(site, http, redis)
        await _store_and_assistants(http)
        await _other_protocols(site, http)
        assert leaks == []
    assert leaks == []
    assert await scan(redis, MARKER) == []
    assert keys.thread(thread).encode() in await scan(redis, READABLE)  # so the scan finds a text
    logged = [line for process in (site.api, site.worker) for line in process.lines]
    # The worker logs the graph's own exceptions with their text.
    assert not [line for line in logged if MARKER in line and "ValueError" not in line]
    await _unreadable_without_the_key(site, http, thread)


async def _runs_and_states(http: httpx.AsyncClient) -> str:
    """Runs that succeed, wait, fail and are still pending; all reads of their thread. Returns its id."""
    thread = (await ok(http.post("/threads", json={"metadata": {"shown": READABLE}})))["thread_id"]
    runs = f"/threads/{thread}/runs"
    assert (await ok(http.post(f"{runs}/wait", json=body("store"))))["answer"] == MARKER
    streamed = (await http.post(f"{runs}/stream", json=body(stream_mode=ALL_MODES))).text
    for event in ("values", "updates", "messages", "custom", "debug", "tasks", "events"):
        assert any(
            MARKER in part and f"event: {event}" in part for part in streamed.split("\r\n\r\n")
        ), event
    asking = await ok(http.post(runs, json=body("ask")))
    await ok(http.get(f"{runs}/{asking['run_id']}/join"))
    record = await ok(http.get(f"/threads/{thread}"))
    assert record["values"]["text"] == MARKER
    [[pause]] = record["interrupts"].values()
    assert pause["value"] == {"question": MARKER}
    resumed = body("", command={"resume": MARKER}, input=None)
    assert (await ok(http.post(f"{runs}/wait", json=resumed)))["answer"] == MARKER
    failed = await http.post(f"{runs}/wait", json=body("fail"))
    assert failed.json()["__error__"]["message"] == MARKER
    assert MARKER in (await http.post(f"{runs}/stream", json=body("fail"))).text
    assert (await ok(http.get(f"/threads/{thread}")))["error"]
    view = await ok(http.get(f"{runs}/{asking['run_id']}"))
    assert view["kwargs"]["input"]["text"] == view["kwargs"]["config"]["tags"][0] == MARKER
    assert MARKER in (await http.get(f"{runs}/{asking['run_id']}/stream")).text  # replayed
    await ok(
        http.post(
            f"/threads/{thread}/state", json={"values": {"text": MARKER}, "as_node": "repeat"}
        )
    )
    state = await ok(http.get(f"/threads/{thread}/state"))
    assert state["values"]["text"] == MARKER
    assert len(await ok(http.post(f"/threads/{thread}/history", json={"limit": 50}))) > 5
    copied = (await ok(http.post(f"/threads/{thread}/copy")))["thread_id"]
    assert (await ok(http.get(f"/threads/{copied}")))["values"]["text"] == MARKER
    assert (await ok(http.get(f"/threads/{copied}/state")))["values"]["text"] == MARKER
    by_values = {"values": {"text": MARKER}, "limit": 10}
    listed = await ok(http.post("/threads/search", json=by_values))
    assert {thread, copied} <= {each["thread_id"] for each in listed}
    await ok(http.post(runs, json=body(after_seconds=600)))  # stays in the queue
    of_factory = (await ok(http.post("/threads", json={})))["thread_id"]
    await ok(http.post(f"/threads/{of_factory}/runs/wait", json=body(assistant_id="factory")))
    assert (await ok(http.get(f"/threads/{of_factory}/state")))["values"]["text"] == MARKER
    return str(thread)


async def _crons_webhooks_and_batches(site: Site, http: httpx.AsyncClient, redis: Client) -> None:
    hook = f"{site.receiver.url}/{MARKER}"
    cron = await ok(http.post("/runs/crons", json=body(schedule="0 0 1 1 *", webhook=hook)))
    assert cron["payload"]["input"]["text"] == MARKER
    await redis.zadd(keys.crons(), {cron["cron_id"]: 1})  # due now
    await until(lambda: site.receiver.requests)
    [call] = site.receiver.requests
    assert (call.path, call.json["values"]["text"]) == (f"/{MARKER}", MARKER)
    assert call.json["kwargs"]["input"]["text"] == MARKER
    renamed = await ok(
        http.patch(f"/runs/crons/{cron['cron_id']}", json={"input": {"text": MARKER}})
    )
    assert renamed["payload"]["input"]["text"] == MARKER
    await ok(http.post("/runs/wait", json=body("fail", webhook=hook)))
    await until(lambda: len(site.receiver.requests) == 2)
    assert site.receiver.requests[1].json["error"]["message"] == MARKER
    batch = await ok(http.post("/runs/batch", json=[body(), body(webhook=hook, after_seconds=600)]))
    await ok(http.post(f"/runs/{batch[1]['run_id']}/cancel"))
    await until(lambda: len(site.receiver.requests) == 3)


async def _store_and_assistants(http: httpx.AsyncClient) -> None:
    item = {"namespace": ["texts"], "key": "by-http", "value": {"text": MARKER}}
    assert (await http.put("/store/items", json=item)).is_success
    read = await ok(http.get("/store/items", params={"namespace": "texts", "key": "by-http"}))
    assert read["value"] == {"text": MARKER}
    search = {"namespace_prefix": ["texts"], "filter": {"text": MARKER}}
    leaks = await ok(http.post("/store/items/search", json=search))
    assert {each["key"] for each in leaks["items"]} == {"by-http", "item"}
    fields = {"config": {"configurable": {"secret": MARKER}}, "metadata": {"shown": READABLE}}
    assistant = (await ok(http.post("/assistants", json={"graph_id": "repeating", **fields})))[
        "assistant_id"
    ]
    await ok(http.patch(f"/assistants/{assistant}", json={"config": {"tags": [MARKER]}}))
    await ok(http.post(f"/assistants/{assistant}/latest", json={"version": 1}))
    view = await ok(http.get(f"/assistants/{assistant}"))
    assert view["config"]["configurable"]["secret"] == MARKER
    assert (await ok(http.post("/runs/wait", json=body(assistant_id=assistant))))["text"] == MARKER


async def _other_protocols(site: Site, http: httpx.AsyncClient) -> None:
    async with McpClient(f"{site.api.url}/mcp/") as tools:
        result: Any = await tools.call_tool("repeating", {"text": MARKER})
        assert result.structured_content["text"] == MARKER
    agent = await open_a2a_client(http, site.api.url, "repeating")
    events = [event async for event in agent.send_message(message_request(MARKER))]
    assert MARKER in str(events)
    thread = str(uuid.uuid4())
    run = await start(http, thread, "repeating", input={"text": MARKER, "then": "ask"})
    assert MARKER in str(await ok(http.get(f"/threads/{thread}/runs/{run}/join")))
    [[pause]] = (await ok(http.get(f"/threads/{thread}")))["interrupts"].values()
    answer = {"interrupt_id": pause["id"], "response": MARKER, "namespace": []}
    command = {"id": 2, "method": "input.respond", "params": answer}
    reply = await ok(http.post(f"/threads/{thread}/commands", json=command))
    assert reply["type"] == "success", reply
    await until(lambda: _is_idle(http, thread))
    # The script compares the interrupts as they are stored: the same answer is refused now.
    again = (await http.post(f"/threads/{thread}/commands", json=command)).json()
    assert again["type"] == "error"


async def _is_idle(http: httpx.AsyncClient, thread: str) -> bool:
    record = await ok(http.get(f"/threads/{thread}"))
    return bool(record["status"] == "idle" and record["values"]["answer"] == MARKER)


async def _unreadable_without_the_key(site: Site, http: httpx.AsyncClient, thread: str) -> None:
    """Other keys get errors that name the setting; earlier keys that are configured read all."""
    listed = await ok(http.get(f"/threads/{thread}/runs"))
    run = listed[-1]["run_id"]  # the first one
    blind = site.fleet.api(site.config)
    wrong = site.fleet.api(site.config, LANGGRAPH_AES_KEY=OTHER)
    rotated = site.fleet.api(
        site.config, LANGGRAPH_AES_KEY=NEW, LANGGRAPH_AES_FALLBACK_KEYS=f"{OTHER},{OLD}"
    )
    for process in (blind, wrong):
        async with httpx.AsyncClient(base_url=process.wait_ready().url, timeout=10) as client:
            for response in (
                await client.get(f"/threads/{thread}"),
                await client.get(f"/threads/{thread}/state"),
                await client.get(f"/threads/{thread}/runs/{run}"),
                await client.post("/threads/search", json={}),
                await client.post(f"/threads/{thread}/copy"),
                await client.post("/assistants/search", json={}),
                await client.get("/store/items", params={"namespace": "texts", "key": "by-http"}),
                await client.post("/runs/crons/search", json={}),
            ):
                assert response.status_code == 503, (response.request.url, response.text)
                assert "LANGGRAPH_AES_KEY" in response.json()["detail"]
            for response in (
                await client.get(f"/threads/{thread}/runs/{run}/stream"),
                await client.get(f"/threads/{thread}/runs/{run}/join"),
                await client.post("/runs/wait", json={**body(), "assistant_id": "factory"}),
            ):
                assert response.status_code == 200
                assert "LANGGRAPH_AES_KEY" in response.text
                assert MARKER not in response.text
    async with httpx.AsyncClient(base_url=rotated.wait_ready().url, timeout=10) as client:
        assert (await ok(client.get(f"/threads/{thread}")))["values"]["text"] == MARKER
        assert MARKER in (await client.get(f"/threads/{thread}/runs/{run}/stream")).text
        assert (await ok(client.get(f"/threads/{thread}/runs/{run}")))["kwargs"]["input"][
            "text"
        ] == MARKER
    for process in (blind, wrong, rotated):
        process.stop()
