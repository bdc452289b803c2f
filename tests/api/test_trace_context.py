"""The trace of a request goes along in its run's record, also where the API itself traces nothing."""

import uuid
from typing import Any

import httpx
import pytest

from conftest import System
from millstream.shared import keys
from millstream.shared.redis import connect
from millstream.shared.wire import RunSpec, unpack_request, unpack_spec

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-01"
HEADERS = {"traceparent": PARENT, "tracestate": "a=1", "x-request-id": "req-1"}


async def spec_of(system: System, http: httpx.AsyncClient, **configurable: Any) -> RunSpec:
    """Returns the record of a run that was created with HEADERS."""
    thread_id = str(uuid.uuid4())
    body = {
        "assistant_id": "steps",
        "input": {},
        "config": {"configurable": {"n": 1, **configurable}},
        "if_not_exists": "create",
    }
    answer = await http.post(f"/threads/{thread_id}/runs", json=body, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    run_id = answer.json()["run_id"]
    redis = connect(system.fleet.redis_url)
    packed = await redis.hget(keys.run(thread_id, run_id), "spec")  # type: ignore[misc]
    await redis.aclose()
    await http.get(f"/threads/{thread_id}/runs/{run_id}/join")
    await http.delete(f"/threads/{thread_id}")
    return unpack_spec(packed or b"")


async def test_the_record_has_the_clients_trace_and_request_id(
    system: System, http: httpx.AsyncClient
) -> None:
    spec = await spec_of(system, http)
    assert (spec.traceparent, spec.tracestate, spec.request_id) == (PARENT, "a=1", "req-1")


async def test_configurable_goes_before_the_headers(
    system: System, http: httpx.AsyncClient
) -> None:
    spec = await spec_of(system, http, __otel_traceparent__=OTHER)
    assert (spec.traceparent, spec.tracestate, spec.request_id) == (OTHER, "", "req-1")


@pytest.mark.parametrize("path", ["/runs", "/runs/stream", "/runs/wait", "/runs/crons"])
async def test_an_invalid_trace_in_configurable_is_refused(
    http: httpx.AsyncClient, path: str
) -> None:
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "config": {"configurable": {"__otel_traceparent__": "hello"}},
    }
    if path == "/runs/crons":
        body["schedule"] = "0 0 1 1 *"
    answer = await http.post(path, json=body)
    assert answer.status_code == 422
    assert "config.configurable.__otel_traceparent__" in answer.json()["detail"]


async def test_an_invalid_header_is_ignored(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "/runs/wait",
        json={"assistant_id": "steps", "input": {}, "config": {"configurable": {"n": 1}}},
        headers={"traceparent": "hello", "tracestate": "x" * 600},
    )
    assert answer.status_code == 200


async def test_a_cron_keeps_the_trace_of_the_request_that_created_it(
    system: System, http: httpx.AsyncClient
) -> None:
    body = {"assistant_id": "steps", "schedule": "0 0 1 1 *"}
    cron_id = (await http.post("/runs/crons", json=body, headers=HEADERS)).json()["cron_id"]
    redis = connect(system.fleet.redis_url)
    packed = await redis.hget(keys.cron(cron_id), "request")  # type: ignore[misc]
    await redis.aclose()
    await http.delete(f"/runs/crons/{cron_id}")
    request = unpack_request(packed or b"")
    assert (request.traceparent, request.request_id) == (PARENT, "req-1")
