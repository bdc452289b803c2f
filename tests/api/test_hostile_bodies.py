"""Too large bodies, and random bodies."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from api.requests import STEPS, UNKNOWN_ID, System, detail
from harness.processes import Fleet
from millstream.api.runs.schemas import RunCreateStateful, RunCreateStateless

RUN_PATHS = ("/runs", "/runs/stream", "/runs/wait")

# ── Too large ───────────────────────────────────────────────────────────────────────────────

MAX_BYTES = 5000


@pytest.fixture(scope="module")
def small_api(system: System) -> Iterator[str]:
    """An API process that accepts only small bodies."""
    with Fleet(system.fleet.redis_url, HTTP_MAX_REQUEST_BODY_BYTES=str(MAX_BYTES)) as fleet:
        yield fleet.api().wait_ready().url


def padded(size: int) -> bytes:
    """Returns a valid request with the given number of bytes."""
    body = json.dumps(STEPS).encode()
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("size", [MAX_BYTES, MAX_BYTES + 1, 20 * MAX_BYTES])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413(small_api: str, size: int, chunked: bool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        content = padded(size)
        for at in range(0, size, 999):
            yield content[at : at + 999]

    async with httpx.AsyncClient(base_url=small_api, timeout=20) as client:
        for path in ("/runs/wait", "/runs/stream", "/runs"):
            content = parts() if chunked else padded(size)
            response = await client.post(path, content=content)
            assert response.status_code == (413 if size > MAX_BYTES else 200)
            if size > MAX_BYTES:
                assert str(MAX_BYTES) in detail(response)


# ── Too many values ─────────────────────────────────────────────────────────────────────────

MAX_VALUES = 250_000  # HTTP_MAX_REQUEST_BODY_VALUES


@pytest.mark.parametrize("path", ["/runs", "/threads", "/store/items/search", "/runs/batch"])
async def test_more_values_than_allowed_are_413(http: httpx.AsyncClient, path: str) -> None:
    many = b"[" + b"{}," * MAX_VALUES + b"{}]"
    content = many if path == "/runs/batch" else b'{"assistant_id":"steps","input":%s}' % many
    response = await http.post(path, content=content)
    assert response.status_code == 413
    assert str(MAX_VALUES) in detail(response)


async def test_large_inputs_are_executed(http: httpx.AsyncClient) -> None:
    """Texts may hold what separates values, and a body beyond 64 KiB is decoded in a thread."""
    items = [0, "[{,:" * 100_000, *range(50_000)]
    body = {**STEPS, "input": {"items": items}, "config": {"configurable": {"n": 1}}}
    assert (await http.post("/runs/wait", json=body)).json()["items"][:-1] == items


async def test_calls_of_mcp_and_a2a_have_fewer_values(http: httpx.AsyncClient) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"x": [0] * 10_000}}
    for path in ("/mcp/", "/a2a/chat"):
        headers = {"accept": "application/json, text/event-stream"}
        response = await http.post(path, json=call, headers=headers)
        assert (response.status_code, "10000" in detail(response)) == (413, True)


async def test_filters_and_subscriptions_have_a_size(http: httpx.AsyncClient) -> None:
    large = {"metadata": {"x": "a" * 65536}}
    for path in ("/threads/search", "/threads/count", "/assistants/search", "/agents/search"):
        response = await http.post(path, json=large)
        assert (response.status_code, detail(response)[:8]) == (422, "metadata"), path
    for name in ("channels", "namespaces"):
        many = {"channels": ["values"], name: [["a"] if name == "namespaces" else "values"] * 101}
        response = await http.post(f"/threads/{UNKNOWN_ID}/stream/events", json=many)
        assert (response.status_code, detail(response)[:5]) == (400, name[:5])


async def test_a_list_is_refused_at_its_first_invalid_item(http: httpx.AsyncClient) -> None:
    response = await http.post("/runs/cancel", json={"run_ids": [0] * 200_000})
    assert response.status_code == 422
    assert "run_ids.0" in detail(response)
    assert "run_ids.1" not in detail(response)


# ── Whatever a client sends ─────────────────────────────────────────────────────────────────

TEXT = st.text(max_size=8) | st.sampled_from(["*", "__root__", "step", "steps", UNKNOWN_ID, "\0"])
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.lists(TEXT, max_size=2) | JSON,
        "recursion_limit": st.integers(-1, 30) | JSON,
        "metadata": st.dictionaries(TEXT, JSON, max_size=2) | JSON,
        "configurable": st.dictionaries(
            st.sampled_from(
                ["thread_id", "run_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map",
                 "graph_id", "__pregel_store", "__pregel_resuming", "a", ""]
            ),
            JSON,
            max_size=4,
        ),
    },
)  # fmt: skip
COMMAND = st.fixed_dictionaries(
    {},
    optional={
        "update": st.dictionaries(TEXT, JSON, max_size=2) | st.lists(st.lists(JSON)) | JSON,
        "resume": JSON,
        "goto": TEXT | st.fixed_dictionaries({"node": TEXT, "input": JSON}) | JSON,
    },
)
MODES = st.sampled_from(
    ["values", "updates", "messages", "messages-tuple", "custom", "events", "debug", "tasks",
     "checkpoints", "bogus"]
)  # fmt: skip
KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "config": CONFIG,
    "command": COMMAND,
    "metadata": st.dictionaries(TEXT, st.integers() | TEXT, max_size=3),
    "stream_mode": MODES | st.lists(MODES, max_size=4),
    "interrupt_before": st.just("*") | st.lists(TEXT, max_size=2),
    "interrupt_after": st.just("*") | st.lists(TEXT, max_size=2),
    "checkpoint": st.dictionaries(
        st.sampled_from(["thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map"]), JSON
    ),
    "multitask_strategy": st.sampled_from(["enqueue", "reject", "interrupt"]),
    "after_seconds": st.floats(-1, 0.02),
    "durability": st.sampled_from(["sync", "async", "exit"]),
    "on_completion": st.sampled_from(["delete", "keep"]),
    "if_not_exists": st.sampled_from(["create", "reject"]),
    "on_disconnect": st.sampled_from(["cancel", "continue"]),
}
GRAPHS = ["steps", "chat", "approval", "nested", "boom", "custom", "echo", "nested_chat"]
NOT_NUMBERS = JSON.filter(
    lambda value: isinstance(value, bool) or not isinstance(value, int | float)
)
BODIES = (
    st.fixed_dictionaries(
        {"assistant_id": st.sampled_from(GRAPHS) | st.sampled_from(GRAPHS) | JSON},
        optional={
            name: KNOWN.get(name, JSON) | (NOT_NUMBERS if name == "after_seconds" else JSON)
            for name in sorted(
                {*RunCreateStateful.model_fields, *RunCreateStateless.model_fields, "unknown"}
                - {"assistant_id"}
            )
        },
    )
    | JSON
)


def test_no_body_causes_a_server_error(system: System) -> None:
    redis_url = system.fleet.redis_url
    with (
        httpx.Client(base_url=system.url, timeout=30) as client,
        Redis.from_url(redis_url) as redis,
    ):
        thread = client.post("/threads", json={}).json()["thread_id"]
        admitted = 0

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(BODIES, st.sampled_from(RUN_PATHS), st.booleans())
        def send(body: Any, path: str, stateless: bool) -> None:
            nonlocal admitted
            if stateless and isinstance(body, dict):
                body.pop("command", None)  # the library's checkpointer leaks keys of such a run
            response = client.post(path if stateless else f"/threads/{thread}{path}", json=body)
            assert response.status_code < 500, response.text
            if response.status_code >= 400:
                detail(response)
            else:
                admitted += 0 if stateless else 1

        send()
        assert len(client.get(f"/threads/{thread}/runs?limit=1000").json()) == admitted > 0

        def unfinished() -> list[bytes]:
            keys = redis.scan_iter("ms:*:run:*", count=5000, _type="HASH")
            return [key for key in keys if redis.hget(key, "status") in (b"pending", b"running")]

        for key in unfinished():
            client.get(f"/threads/{key.decode()[4:40]}/runs/{key.decode()[-36:]}/join")
        assert unfinished() == []


async def test_random_bodies_leak_no_key(http: httpx.AsyncClient) -> None:
    """The fixture checks for leaked keys, including those of the test before."""
    assert (await http.get("/ok")).json()["ok"] is True
