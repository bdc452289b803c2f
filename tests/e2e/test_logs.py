"""The log of an API and a worker as processes: its form, its ids, and what is never on it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.raw_http import RawResponse
from harness.processes import Fleet, Process
from harness.waiting import until
from harness.webhook_receiver import Receiver
from millstream.cli.embedded import EmbeddedRedis

pytestmark = pytest.mark.xdist_group("logs")

CONFIG = Path(__file__).parents[1] / "graphs" / "logged.json"
FIXED = ["timestamp", "level", "event", "logger", "role"]
SECRET = 'webhook secret "4711" %'
PRINTED = ("printed", "millstream-ready ")  # lines that are not of the log
# A line feed and a whole line, ESC, a separator of lines, an override of the direction, a C1 control character.
FORGED = 'x\n{"timestamp":"2026","level":"error","event":"forged"}\r\x1b[2K\x1b[31m \u2028 \u202egnp \x9b1m'
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]")


class Site:
    """An API and a worker that log everything."""

    def __init__(self, fleet: Fleet) -> None:
        self.api = fleet.api()
        self.worker = fleet.worker(CONFIG)
        self.http = httpx.AsyncClient(base_url=self.api.wait_ready().url, timeout=30)
        self.worker.wait_ready()

    async def run(self, graph: str, text: str = "", headers: dict[str, str] | None = None) -> str:
        """Executes a run; returns its id."""
        body = {"assistant_id": graph, "input": {"name": text, "text": text}}
        response = await self.http.post("/runs/wait", json=body, headers=headers)
        return response.headers["location"].split("/")[4]

    async def requests(self, **fields: Any) -> list[dict[str, Any]]:
        """Returns the lines of requests that have these fields, once there is one."""
        return await records(self.api, logger="millstream.access", **fields)


async def records(process: Process, **fields: Any) -> list[dict[str, Any]]:
    """Returns the lines that have these fields, once there is one."""

    def matches() -> list[dict[str, Any]]:
        return [each for each in process.records if fields.items() <= each.items()]

    lines: list[dict[str, Any]] = await until(matches, what=f"{fields} in {process.lines[-20:]}")
    return lines


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), modules=False) as redis:
        yield redis


@pytest.fixture(scope="module")
def fleet(redis: EmbeddedRedis) -> Iterator[Fleet]:
    with Fleet(redis.url, LOG_LEVEL="INFO", WEBHOOK_SECRET=SECRET, WEBHOOK_NETWORKS="127.0.0.1/32",
               LOG_EXCLUDE_PATHS="/ok,/assistants/*") as fleet:  # fmt: skip
        yield fleet


@pytest.fixture(scope="module")
def started(fleet: Fleet) -> Site:
    return Site(fleet)


@pytest.fixture
async def site(started: Site) -> AsyncIterator[Site]:
    """The site, with a client of the test's event loop. Each line of its processes must be valid."""
    async with httpx.AsyncClient(base_url=started.api.url, timeout=30) as started.http:
        yield started
    for process in (started.api, started.worker):
        for line in process.lines:
            if not line.startswith(PRINTED):
                record = json.loads(line)
                assert list(record)[:5] == FIXED, line
                assert not UNSAFE.search(line), line
                assert datetime.fromisoformat(record["timestamp"]).tzinfo == UTC
                assert SECRET not in str(record)


# ── Ids ─────────────────────────────────────────────────────────────────────────────────────


async def test_the_lines_of_two_runs_at_once_have_each_its_ids(site: Site) -> None:
    runs = await asyncio.gather(
        site.run("meets", "ann", {"x-request-id": "for-ann"}),
        site.run("meets", "bob", {"x-request-id": "for-bob"}),
    )
    for name, run_id in zip(("ann", "bob"), runs, strict=True):
        lines = await records(site.worker, run_id=run_id)
        assert [(each["event"], each["level"], each["logger"]) for each in lines] == [
            (f"before {name}", "info", "logged"),
            (f"after {name}", "info", "logged"),
            ("structlog", "info", "logged.structlog"),
            (f"own {name}", "debug", "logged.own"),
            (f"in thread {name}", "info", "logged"),
        ]
        [ids] = {
            tuple(each.get(key) for key in ("attempt", "graph_id", "queue", "request_id", "role"))
            for each in lines
        }
        assert ids == (1, "meets", "default", f"for-{name}", "worker")
        assert {each["name_of_run"] for each in lines[1:3]} == {name}
        [request] = await site.requests(run_id=run_id)
        assert {each["thread_id"] for each in lines} == {request["thread_id"]}
        assert {each["worker_id"] for each in lines} == {worker_id(site)}
    assert sum(line == "printed" for line in site.worker.lines) == 2
    assert not [line for line in site.worker.lines if line.startswith("own form")]


def worker_id(site: Site) -> str:
    [worker_id] = {each["worker_id"] for each in site.worker.records if "worker_id" in each}
    return str(worker_id)


async def test_a_call_of_the_api_has_the_ids_of_its_request(site: Site) -> None:
    run_id = await site.run("opened", "x")
    [request] = await site.requests(run_id=run_id)
    thread = str((await site.http.post("/threads", json={})).json()["thread_id"])
    await site.http.post(
        f"/threads/{thread}/runs/wait", json={"assistant_id": "opened", "input": {}}
    )
    await site.http.get(f"/threads/{thread}/state", headers={"x-request-id": "state-1"})
    [line] = await records(site.worker, request_id="state-1")
    assert (line["event"], line["thread_id"], line["graph_id"]) == ("opened", thread, "opened")
    assert "run_id" not in line
    assert request["run_id"] == run_id


async def test_a_webhook_has_the_ids_of_its_run(site: Site) -> None:
    with Receiver(lambda _: (500, {})) as receiver:
        receiver.body = FORGED.encode()
        body = {"assistant_id": "says", "input": {"text": "x"}, "webhook": receiver.url}
        response = await site.http.post("/runs/wait", json=body)
        run_id = response.headers["location"].split("/")[4]
        lines = await records(
            site.worker, run_id=run_id, logger="millstream.worker.webhooks.deliverer"
        )
    assert "is called again in" in lines[0]["event"]
    assert "forged" in lines[0]["event"]
    [request] = await site.requests(run_id=run_id)
    assert lines[0]["request_id"] == request["request_id"] == response.headers["x-request-id"]


# ── Forged lines, and lines of other forms ──────────────────────────────────────────────────


@pytest.mark.parametrize("graph", ["says", "apart"])
async def test_no_value_forges_a_line(site: Site, graph: str) -> None:
    run_id = await site.run(graph, FORGED)
    lines = [each for each in site.worker.records if each.get("run_id") == run_id]
    assert [each["event"] for each in lines[:3]] == [f"said {FORGED}", "extra", FORGED]
    assert (lines[1]["text"], lines[1][FORGED]) == (FORGED, "name")
    assert lines[2]["value"] == {"inner": FORGED}
    assert lines[3]["event"].startswith(
        f"wrong arguments %d ({FORGED!r},) (not formatted: TypeError: "
    )
    assert lines[4]["logger"] == "py.warnings"
    assert FORGED in lines[4]["event"]
    assert not [each for each in site.worker.records if each["event"] == "forged"]
    assert {each["role"] for each in lines} == {"worker" if graph == "says" else "isolated"}
    assert {each["worker_id"] for each in lines} == {worker_id(site)}
    # A thread that the project has started has no ids. The run waits for its end.
    uncaught = [
        each
        for each in site.worker.records
        if (each["logger"], each["level"]) == ("millstream.shared.logs.setup", "error")
    ]
    assert any(each["exception"].endswith(f"RuntimeError: {FORGED}") for each in uncaught)
    assert not any("run_id" in each for each in uncaught)


async def test_a_secret_of_the_settings_is_masked(site: Site) -> None:
    run_id = await site.run("says", f"the {SECRET} is")
    lines = await records(site.worker, run_id=run_id)
    assert lines[0]["event"] == "said the *** is"
    assert lines[2]["value"] == {"inner": "the *** is"}


async def test_the_traceback_of_a_run_is_a_field_of_one_line(site: Site) -> None:
    run_id = await site.run("fails", FORGED)
    [line] = await records(site.worker, run_id=run_id)
    assert line["level"] == "warning"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert "raise ValueError" in line["exception"]
    assert "logged.py" in line["exception"]


async def test_lines_for_people_are_not_forged_either(fleet: Fleet) -> None:
    api = fleet.api(LOG_JSON="false", LOG_COLOR="true").wait_ready()
    async with httpx.AsyncClient(base_url=api.url) as http:
        body = {"method": "SendMessage", "jsonrpc": "2.0", "id": FORGED, "params": {}, FORGED: 1}
        await http.post("/a2a/says", json=body)
        await http.post("/threads", json={FORGED: 1})
    api.stop()
    lines = [line for line in api.lines if not line.startswith(PRINTED)]
    assert len(lines) == 3, lines
    for line in lines:
        assert re.match(r"\x1b\[2m\d\d:\d\d:\d\d\.\d{3}\x1b\[0m \x1b\[32mINFO ", line), line
        plain = re.sub(r"\x1b\[\d+m", "", line)  # without the colours, of which none is forged
        assert not UNSAFE.search(plain), line


# ── Requests ────────────────────────────────────────────────────────────────────────────────


async def test_a_request_is_one_line_without_its_query(site: Site) -> None:
    thread = (await site.http.post("/threads", json={})).json()["thread_id"]
    response = await site.http.get(
        f"/threads/{thread}/state?subgraphs=false&api_key=topsecret&x=%0aforged",
        headers={"x-request-id": "state 2", "authorization": "Bearer topsecret"},
    )
    assert response.headers["x-request-id"] == "state 2"
    [line] = await site.requests(request_id="state 2")
    assert line.pop("duration_ms") > 0
    del line["timestamp"]
    path = f"/threads/{thread}/state"
    assert line.pop("event").startswith(f"GET {path} 200 in ")
    assert line == {
        "level": "info",
        "logger": "millstream.access",
        "role": "api",
        "thread_id": thread,
        "request_id": "state 2",
        "method": "GET",
        "path": path,
        "route": "/threads/{thread_id}/state",
        "status": 200,
        "client": "127.0.0.1",
    }
    assert not [each for each in site.api.lines if "topsecret" in each]


async def test_an_invalid_request_id_is_replaced(site: Site) -> None:
    for sent in ([], [(b"x-request-id", b"a\tb")], [(b"x-request-id", b"\xe4")]):
        response = await site.http.get("/info", headers=sent)
        request_id = response.headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", request_id)
        await site.requests(request_id=request_id)
    response = await site.http.get("/info", headers={"x-request-id": "x" * 1000})
    assert response.headers["x-request-id"] == "x" * 128


async def test_excluded_paths_are_not_logged(site: Site) -> None:
    await site.http.get("/ok")
    await site.http.post("/assistants/search", json={})
    await site.http.get("/%0aforged%1b", headers={"x-request-id": "last"})
    [line] = await site.requests(request_id="last")
    assert (line["path"], line["status"], line["route"]) == ("/%0aforged%1b", 404, None)
    paths = {each["path"] for each in site.api.records if each["logger"] == "millstream.access"}
    assert not paths & {"/ok", "/assistants/search"}


async def test_a_stream_is_logged_when_it_ends(site: Site) -> None:
    body = {"assistant_id": "says", "input": {"text": "x"}, "stream_mode": ["values", "updates"]}
    response = await site.http.post("/runs/stream", json=body)
    request_id = response.headers["x-request-id"]
    [line] = await site.requests(request_id=request_id)
    assert line["frames"] == response.text.count("event: ")
    assert (line["route"], line["status"], "complete" in line) == ("/runs/stream", 200, False)
    assert line["run_id"] in response.text


async def test_a_lost_client_is_no_error(site: Site) -> None:
    before = len(site.api.records)
    for path in ("/threads", "/mcp/", "/store/items/search"):
        _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(site.api.url).port)
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-request-id: left{path}\r\ncontent-length: 9\r\n\r\n"
        writer.write(head.encode() + b"{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        [line] = await site.requests(request_id=f"left{path}")
        assert (line["status"], line["level"]) == (499, "info")

    body = {"assistant_id": "meets", "input": {"name": "x"}}  # it waits for another run
    path, headers = "/runs/stream", {"x-request-id": "left-in-stream"}
    response = await RawResponse.open(site.api.url, "POST", path, body, headers=headers)
    await response.reset()
    [line] = await site.requests(request_id="left-in-stream")
    assert (line["status"], line["complete"]) == (200, False)
    await site.run("meets", "y")
    assert {each["level"] for each in site.api.records[before:]} == {"info"}


async def test_no_request_puts_a_secret_on_a_line(site: Site) -> None:
    """Sends a secret in the headers, the query and the body of each operation of openapi.json."""
    secret, in_body = "topsecret-of-a-client", "topsecret-of-a-body"
    headers = {
        "authorization": f"Bearer {secret}",
        "x-api-key": secret,
        "cookie": f"session={secret}",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
    }
    bodies = [f'["{in_body}"]', f'{{"a": "{in_body}', json.dumps(_filled(in_body))]
    requests = [
        (method, f"{path}?api_key={secret}&token={secret}", body)
        for path, operations in (await site.http.get("/openapi.json")).json()["paths"].items()
        for method in operations
        if method in ("get", "post", "put", "patch", "delete")
        for body in (bodies if method != "get" else [""])
    ]
    assert len(requests) > 150
    statuses = set()
    for method, path, body in requests:
        path = re.sub(r"\{\w+\}", "00000000-0000-4000-8000-000000000000", path)
        async with site.http.stream(method, path, content=body, headers=headers) as response:
            statuses.add(response.status_code)
            if response.status_code >= 400:
                assert secret not in str(response.headers) + (await response.aread()).decode(), path
    assert {200, 404, 422} <= statuses
    assert max(statuses) < 500
    run_input = {"assistant_id": "says", "input": {"text": "x", "other": in_body}}
    await site.http.post("/runs/wait", json={**run_input, "metadata": {"a": in_body}})
    for process in (site.api, site.worker):
        assert [line for line in process.lines if secret in line or in_body in line] == []


def _filled(value: str) -> dict[str, Any]:
    """Returns a body with fields of many routes, each with an invalid value that contains `value`."""
    names = (
        "assistant_id", "graph_id", "input", "command", "config", "context", "metadata", "thread_id", "webhook",
        "schedule", "stream_mode", "limit", "namespace", "key", "value", "values", "checkpoint", "jsonrpc", "method",
        "params", "id", "query", "filter", "supersteps", "multitask_strategy", "keep_latest", "channels",
    )  # fmt: skip
    return {name: {"x": [value]} for name in names}


# ── Settings ────────────────────────────────────────────────────────────────────────────────


async def test_lines_below_the_level_are_not_written(fleet: Fleet) -> None:
    api = fleet.api(LOG_LEVEL="WARNING").wait_ready()
    async with httpx.AsyncClient(base_url=api.url) as http:
        response = await http.get("/info")
    assert response.headers["x-request-id"]
    api.stop()
    assert api.records == []
