"""The headers of responses, and of preflights that allow them."""

import httpx
import pytest

from api.requests import STEPS, UNKNOWN_ID
from golden.normalise import parse_sse

JSON_TYPE = "application/json"
EXPOSED = {
    "content-location", "location", "ratelimit", "ratelimit-policy", "retry-after", "x-pagination-total",
    "x-pagination-next", "x-request-id",
}  # fmt: skip


@pytest.mark.parametrize("stateless", [False, True])
async def test_a_stream_has_its_headers(
    http: httpx.AsyncClient, thread: str, stateless: bool
) -> None:
    base = "/runs" if stateless else f"/threads/{thread}/runs"
    response = await http.post(f"{base}/stream", json=STEPS)
    location = response.headers["content-location"]
    run = parse_sse(response.text)[0][1]
    assert isinstance(run, dict)
    assert location == f"{base}/{run['run_id']}"
    back = f"{location}/stream?cancel_on_disconnect=1&last_event_id=0-0"  # `cancel` is the default
    assert response.headers["location"] == back
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-length" not in response.headers
    assert "content-encoding" not in response.headers
    again = await http.get(response.headers["location"])
    assert again.text == response.text
    same = ("content-location", "location", "content-type", "cache-control", "x-accel-buffering")
    assert [again.headers[name] for name in same] == [response.headers[name] for name in same]
    assert (await http.get(location)).json()["run_id"] == run["run_id"]


async def test_the_location_repeats_the_query(http: httpx.AsyncClient, thread: str) -> None:
    body = {**STEPS, "on_disconnect": "continue"}
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    location = response.headers["content-location"]
    assert response.headers["location"] == f"{location}/stream?last_event_id=0-0"
    ids = [line.removeprefix("id: ") for line in response.text.split("\r\n") if "id: " in line[:4]]
    query = "stream_mode=values&stream_mode=custom&cancel_on_disconnect=1"
    # As the npm SDK reconnects: the Location, followed by its own query again.
    again = f"{query}&last_event_id={ids[1]}&{query}"
    response = await http.get(f"{location}/stream?{again}", headers={"last-event-id": ids[2]})
    assert response.headers["location"] == f"{location}/stream?{query}&last_event_id={ids[2]}"
    events = [data for _, data in parse_sse(response.text)]
    response = await http.get(f"{location}/stream?{again}")
    assert response.headers["location"] == f"{location}/stream?{query}&last_event_id={ids[1]}"
    assert [data for _, data in parse_sse(response.text)][1:] == events
    for verb in ("join", "stream"):
        response = await http.get(f"{location}/{verb}")
        assert "cancel" not in response.headers["location"]


@pytest.mark.parametrize("stateless", [False, True])
async def test_a_wait_has_its_headers(
    http: httpx.AsyncClient, thread: str, stateless: bool
) -> None:
    base = "/runs" if stateless else f"/threads/{thread}/runs"
    response = await http.post(f"{base}/wait", json=STEPS)
    location = response.headers["content-location"]
    assert location.startswith("/threads/")  # for a stateless run too
    assert response.headers["location"] == f"{location}/join?cancel_on_disconnect=1"
    assert response.headers["content-type"] == JSON_TYPE
    assert (await http.get(location)).json()["status"] == "success"
    joined = await http.get(response.headers["location"])
    assert joined.json() == response.json() == {"items": [0, 1, 2]}
    for name in ("content-location", "location", "content-type"):
        assert joined.headers[name] == response.headers[name]
    thread_of = location.split("/")[2]
    assert (await http.get(f"/threads/{thread_of}")).status_code == (404 if stateless else 200)


@pytest.mark.parametrize("stateless", [False, True])
async def test_a_created_run_has_its_headers(
    http: httpx.AsyncClient, thread: str, stateless: bool
) -> None:
    base = "/runs" if stateless else f"/threads/{thread}/runs"
    response = await http.post(base, json=STEPS)
    location = response.headers["content-location"]
    assert location == f"{base}/{response.json()['run_id']}"
    assert response.headers["content-type"] == JSON_TYPE
    assert (await http.get(f"{location}/join")).json() == {"items": [0, 1, 2]}
    assert (await http.get(location)).json()["status"] == "success"


async def test_browsers_may_read_the_headers(http: httpx.AsyncClient, thread: str) -> None:
    origin = {"origin": "http://x.test"}
    for response in (
        await http.post("/runs/stream", json=STEPS, headers=origin),
        await http.post(f"/threads/{thread}/runs/wait", json=STEPS, headers=origin),
        await http.post("/assistants/search", headers=origin),
        await http.get(f"/threads/{UNKNOWN_ID}", headers=origin),
        await http.post("/runs", content=b"{", headers=origin),
    ):
        assert response.headers["access-control-allow-origin"] == "*"
        exposed = response.headers["access-control-expose-headers"].lower().split(", ")
        assert set(exposed) == EXPOSED


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_preflight_allows_the_headers(http: httpx.AsyncClient, method: str) -> None:
    query = "authorization, content-type, last-event-id, x-api-key"
    response = await http.options(
        "/threads",
        headers={
            "origin": "http://x.test",
            "access-control-request-method": method,
            "access-control-request-headers": query,
        },
    )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] in ("*", "http://x.test")
    assert method in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    assert [name for name in query.split(", ") if name not in allowed] == []
