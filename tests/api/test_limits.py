"""Rates of requests and runs, invalid credentials, open streams: 429 that says so, and exact counts."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from api.requests import STEPS, UNKNOWN_ID, System, detail
from harness.processes import Fleet
from harness.waiting import until

LIMITS = {
    "RATE_LIMIT_REQUESTS": "1/h burst 100",
    "RATE_LIMIT_RUNS": "1/h burst 2",
    "MAX_STREAMS_PER_USER": "2",
    "KEEPALIVE_INTERVAL_SECS": "0.2",
    "FORWARDED_ALLOW_IPS": "127.0.0.1",  # so that a test names the client's address
}
SOCKET = f"/threads/{UNKNOWN_ID}/stream/events"
_addresses = iter(range(1, 65536))


@pytest.fixture(scope="module")
def limited(system: System) -> Iterator[str]:
    """The URL of an API with small limits. Each test is another client."""
    with Fleet(system.fleet.redis_url, **LIMITS) as fleet:
        yield fleet.api().wait_ready().url


@pytest.fixture
def address() -> str:
    """An address that no other test has."""
    number = next(_addresses)
    return f"10.9.{number >> 8}.{number & 255}"


@pytest.fixture
async def client(limited: str, address: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-forwarded-for": address}
    async with httpx.AsyncClient(base_url=limited, headers=headers, timeout=30) as client:
        yield client


def quota(response: httpx.Response) -> dict[str, int]:
    """Returns what each bucket has left."""
    parts = [part.split(";") for part in response.headers["ratelimit"].split(", ")]
    return {name.strip('"'): int(left.removeprefix("r=")) for name, left, _ in parts}


# ── Rates ───────────────────────────────────────────────────────────────────────────────────


async def test_each_response_has_the_quota_that_is_left(client: httpx.AsyncClient) -> None:
    response = await client.post("/threads", json={})
    assert response.headers["ratelimit-policy"] == '"requests";q=100;w=360000'
    assert response.headers["ratelimit"] == '"requests";r=99;t=3600'
    assert quota(await client.get("/nowhere")) == {"requests": 98}
    assert quota(await client.post("/threads/search", content=b"{")) == {"requests": 97}


async def test_runs_take_quota_of_both_buckets(client: httpx.AsyncClient) -> None:
    assert quota(await client.post("/runs/wait", json=STEPS)) == {"requests": 99, "runs": 1}
    thread = (await client.post("/threads", json={})).json()["thread_id"]
    response = await client.post(f"/threads/{thread}/runs", json=STEPS)
    assert quota(response) == {"requests": 97, "runs": 0}
    for path in (f"/threads/{thread}/runs/stream", "/runs", "/runs/stream"):
        response = await client.post(path, json=STEPS)
        assert response.status_code == 429
        assert detail(response).startswith("Too many runs: the limit is 1 per hour, 2 at once.")
        assert quota(response) == {"requests": 97, "runs": 0}  # what is refused takes nothing
        assert 3500 < int(response.headers["retry-after"]) <= 3600
    assert len((await client.get(f"/threads/{thread}/runs")).json()) == 1


async def test_a_batch_takes_quota_for_each_of_its_runs(client: httpx.AsyncClient) -> None:
    response = await client.post("/runs/batch", json=[STEPS] * 3)
    assert (response.status_code, "ever come at once" in detail(response)) == (422, True)
    assert (await client.post("/runs/batch", json=[STEPS] * 2)).status_code == 200
    assert (await client.post("/runs/batch", json=[STEPS])).status_code == 429


async def test_runs_of_other_protocols_take_quota_too(client: httpx.AsyncClient) -> None:
    message = {"role": "user", "messageId": "m1", "parts": [{"kind": "text", "text": "hi"}]}
    calls = {
        "/mcp/": {"method": "tools/call", "params": {"name": "steps", "arguments": {"items": []}}},
        "/a2a/chat": {"method": "message/send", "params": {"message": message}},
    }
    answers: dict[str, list[str]] = {path: [] for path in calls}
    accepts = {"accept": "application/json, text/event-stream"}
    for _ in range(2):
        for path, call in calls.items():
            body = {"jsonrpc": "2.0", "id": 1, **call}
            answers[path].append((await client.post(path, json=body, headers=accepts)).text)
    assert "Too many runs" not in answers["/mcp/"][0] + answers["/a2a/chat"][0]
    assert "Too many runs" in answers["/mcp/"][1]
    assert "Too many runs" in answers["/a2a/chat"][1]
    thread = (await client.post("/threads", json={})).json()["thread_id"]
    command = {"id": 1, "method": "run.start", "params": {**STEPS}}
    response = await client.post(f"/threads/{thread}/commands", json=command)
    assert response.status_code == 429


async def test_each_message_of_a_socket_takes_quota(limited: str, address: str) -> None:
    url = limited.replace("http", "ws", 1) + SOCKET
    headers = {"x-forwarded-for": address}
    async with connect(url, additional_headers=headers) as websocket:
        replies = []
        for number in range(100):
            frame = {"id": number, "method": "subscription.unsubscribe", "params": {}}
            await websocket.send(json.dumps(frame) if number else "{")
            replies.append(json.loads(await websocket.recv()))
    assert "invalid_argument" in {reply["error"] for reply in replies[:99]}
    assert replies[98]["error"] == "invalid_argument"
    assert replies[99]["id"] == 99
    assert replies[99]["message"].startswith("Too many requests")
    async with connect(url, additional_headers=headers) as websocket:
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4429
    assert closed.value.rcvd.reason.startswith("Too many requests")
    async with httpx.AsyncClient(base_url=limited, headers=headers) as client:
        response = await client.get(f"/threads/{UNKNOWN_ID}")
        assert response.status_code == 429
        for path in ("/ok", "/info"):
            response = await client.get(path)
            assert (response.status_code, "ratelimit" in response.headers) == (200, False)
        preflight = {"origin": "https://a.example", "access-control-request-method": "POST"}
        assert (await client.options("/threads", headers=preflight)).status_code == 200
        response = await client.get("/threads", headers={"origin": "https://a.example"})
        exposed = response.headers["access-control-expose-headers"]
        assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= {*exposed.split(", ")}


async def test_addresses_of_one_ipv6_network_are_one_client(limited: str) -> None:
    left = []
    async with httpx.AsyncClient(base_url=limited) as client:
        for address in ("2001:db8::1", "2001:db8::ffff:2", "[2001:db8::3]:443", "2001:db8:0:1::1"):
            response = await client.get("/threads", headers={"x-forwarded-for": address})
            left.append(quota(response)["requests"])
    assert left == [99, 98, 97, 99]


# ── Open streams ────────────────────────────────────────────────────────────────────────────


async def slow(client: httpx.AsyncClient) -> str:
    """Starts a run that takes long, and returns its path. Another address starts it."""
    headers = {"x-forwarded-for": f"10.8.0.{next(_addresses) % 256}"}
    thread = (await client.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "slow", "input": {"items": []}}
    run = (await client.post(f"/threads/{thread}/runs", json=body, headers=headers)).json()
    return f"/threads/{thread}/runs/{run['run_id']}"


async def is_open(client: httpx.AsyncClient, path: str) -> bool:
    """Returns whether a stream can be opened now; closes it at once."""
    async with client.stream("GET", path) as response:
        return response.status_code == 200


async def test_a_further_stream_is_429_until_one_ends(client: httpx.AsyncClient) -> None:
    run = await slow(client)
    thread = run.partition("/runs")[0]
    try:
        for _ in range(10):  # clients that leave at once leave nothing behind
            await until(lambda: is_open(client, f"{run}/stream"))
            assert (await client.head(f"{run}/stream")).status_code == 200
        async with AsyncExitStack() as opened:
            for path in (f"{run}/stream", f"{thread}/stream"):
                response = await opened.enter_async_context(client.stream("GET", path))
                assert response.status_code == 200
            for method, path in (
                ("GET", f"{run}/join"),
                ("GET", f"{run}/stream"),
                ("GET", f"{thread}/stream"),
                ("POST", f"{run}/cancel?wait=true"),
                ("POST", f"{thread}/stream/events"),
                ("POST", "/runs/wait"),
            ):
                body = {**STEPS, "channels": ["values"]} if method == "POST" else None
                response = await client.request(method, path, json=body)
                assert response.status_code == 429, path
                assert detail(response).startswith("Too many open streams: the limit is 2")
                assert response.headers["retry-after"] == "5"
            # What was refused has started and cancelled nothing.
            assert (await client.get(run)).json()["status"] in ("pending", "running")
            url = str(client.base_url).replace("http", "ws", 1).rstrip("/") + SOCKET
            headers = {"x-forwarded-for": client.headers["x-forwarded-for"]}
            async with connect(url, additional_headers=headers) as websocket:
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4429
        await until(lambda: is_open(client, f"{run}/stream"))
    finally:
        await client.post(f"{run}/cancel", headers={"x-forwarded-for": "10.8.1.1"})


async def test_errors_of_a_stream_leave_nothing_behind(client: httpx.AsyncClient) -> None:
    unknown = f"/threads/{UNKNOWN_ID}/runs/{UNKNOWN_ID}"
    for _ in range(3):
        assert (await client.get(f"{unknown}/stream")).status_code == 404
        assert (await client.get(f"{unknown}/join")).status_code == 404
        assert (await client.post(f"{unknown}/cancel?wait=1")).status_code == 404
    body = {"assistant_id": "no such", "input": {}}
    assert (await client.post("/runs/stream", json=body)).status_code == 422
    assert (await client.post("/threads/x/runs/stream", json=body)).status_code == 400
    run = await slow(client)
    try:
        await asyncio.gather(*(until(lambda: is_open(client, f"{run}/stream")) for _ in range(4)))
    finally:
        await client.post(f"{run}/cancel", headers={"x-forwarded-for": "10.8.1.1"})
