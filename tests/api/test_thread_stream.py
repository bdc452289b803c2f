"""The stream of a thread: the events of its runs and updates, in one order, each once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from redis import Redis

from api.requests import STEPS, UNKNOWN_ID, System, detail
from api.thread_state import COVERED_FIELDS, covers, update
from golden.normalise import parse_sse
from harness.event_socket import open_socket
from harness.waiting import until
from millstream.api.threads.schemas import ThreadStreamQuery
from millstream.shared import keys

Event = tuple[str, Any, str]  # name, data, id


class Following:
    """A client of a thread's stream, with the events that it has received."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.keepalives = 0
        self.location = ""

    async def listen(self, response: httpx.Response) -> None:
        name = data = ""
        async for line in response.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = value
            elif field == "id":
                self.events.append((name, json.loads(data), value))
            elif line.startswith(": "):
                self.keepalives += 1

    async def at_least(self, count: int) -> list[Event]:
        await until(lambda: len(self.events) >= count, what=f"{count} events in {self.events}")
        return self.events

    @property
    def done(self) -> list[str]:
        """The runs whose end has arrived."""
        return [
            data["run_id"] for _, data, _ in self.events if "status" in data and "run_id" in data
        ]


@asynccontextmanager
async def follow(
    http: httpx.AsyncClient,
    thread: str = "",
    after: str | None = None,
    *,
    tail: str = "",
    **query: Any,
) -> AsyncIterator[Following]:
    headers = {} if after is None else {"last-event-id": after}
    path = tail or f"/threads/{thread}/stream"
    async with http.stream("GET", path, headers=headers, params=query or None) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        following = Following()
        following.location = response.headers["location"]
        listening = asyncio.create_task(following.listen(response))
        try:
            yield following
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def run(http: httpx.AsyncClient, thread: str, **body: Any) -> str:
    """Runs `steps` to its end. Returns the run's id."""
    response = await http.post(f"/threads/{thread}/runs/wait", json={**STEPS, **body})
    assert response.status_code == 200
    return response.headers["content-location"].rpartition("/")[2]


def names(events: list[Event]) -> list[str]:
    return [name for name, _, _ in events]


async def test_runs_are_streamed_one_after_the_other(http: httpx.AsyncClient, thread: str) -> None:
    async with follow(http, thread) as following:
        one = await run(http, thread)
        await following.at_least(6)
        two = await run(http, thread, stream_mode="updates")
        await following.at_least(9)
        other = (await http.post("/threads", json={})).json()["thread_id"]
        await run(http, other)  # events of another thread are not sent
    events = following.events
    first = ["metadata", *["values"] * 4, "metadata"]
    assert names(events) == [*first, "metadata", "updates", "metadata"]
    assert events[0][1] == {"run_id": one, "attempt": 1}
    assert events[5][1] == {"status": "run_done", "run_id": one}
    assert events[-1][1] == {"status": "run_done", "run_id": two}
    assert len({event_id for *_, event_id in events}) == len(events)


async def test_a_stream_resumes_at_any_event_in_order_without_repeats(
    http: httpx.AsyncClient, thread: str
) -> None:
    runs = [await run(http, thread) for _ in range(2)]
    waits = {**STEPS, "after_seconds": 600}
    pending = (await http.post(f"/threads/{thread}/runs", json=waits)).json()["run_id"]
    await http.post(f"/threads/{thread}/runs/{pending}/cancel")
    await update(http, thread, values={"items": [9]}, as_node="step")
    async with follow(http, thread, "-", stream_mode="run_modes,state_update") as following:
        whole = list(await following.at_least(12))
        assert following.done == [*runs, pending]
    assert names(whole)[-2:] == ["metadata", "state_update"]
    for count, (*_, event_id) in enumerate(whole[:-1], start=1):
        async with follow(
            http, thread, event_id, stream_mode=["run_modes", "state_update"]
        ) as rest:
            assert await rest.at_least(len(whole) - count) == whole[count:]
    async with follow(http, thread, whole[-1][2], stream_mode="run_modes") as rest:
        last = await run(http, thread)
        await until(lambda: rest.done == [last])
        assert names(rest.events) == ["metadata", *["values"] * 2, "metadata"]


async def test_a_client_without_an_id_gets_only_new_events(
    http: httpx.AsyncClient, thread: str
) -> None:
    await run(http, thread)
    body = {
        "assistant_id": "steps",
        "input": {},
        "config": {"configurable": {"n": 6, "delay": 0.2}},
    }
    slow = (await http.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]

    async def counts() -> bool:
        return bool(
            (await http.get(f"/threads/{thread}/runs/{slow}")).json()["status"] == "running"
        )

    await until(counts)
    async with follow(http, thread) as following:
        await until(lambda: following.done == [slow])
    assert {name for name, *_ in following.events} <= {"values", "metadata"}
    assert len(following.events) < 8


@covers(ThreadStreamQuery, "stream_mode", "stream_modes")
async def test_stream_modes_filter_a_thread_stream(http: httpx.AsyncClient, thread: str) -> None:
    async with (
        follow(http, thread, stream_mode="lifecycle") as lifecycle,
        follow(http, thread, stream_mode="state_update") as updates,
        follow(http, thread, stream_mode='["lifecycle","state_update"]') as both,
        follow(http, thread, stream_modes="lifecycle", stream_mode="state_update") as either,
    ):
        one = await run(http, thread)
        await update(http, thread, values={"items": [7]}, as_node="step")
        begun, ended = await lifecycle.at_least(2)
        [(name, data, _)] = await updates.at_least(1)
        for each in (both, either):
            assert names(await each.at_least(3)) == ["metadata", "metadata", "state_update"]
        assert "stream_mode=state_update&stream_mode=lifecycle" in either.location
    assert (begun[1], ended[1]["status"]) == ({"run_id": one, "attempt": 1}, "run_done")
    assert (name, data["thread_id"]) == ("state_update", thread)
    assert data["state"]["values"]["items"][-1] == 7
    assert len(lifecycle.events) == 2


async def test_a_thread_stream_stays_open_until_the_thread_is_deleted(
    http: httpx.AsyncClient, thread: str
) -> None:
    async with follow(http, thread) as following:
        one = await run(http, thread)
        await until(lambda: following.done == [one])
        assert (await http.delete(f"/threads/{thread}")).status_code == 204
    assert (await http.get(f"/threads/{thread}/stream")).status_code == 404


@pytest.mark.parametrize("after", ["-1", "-", "0", "999-1"])
async def test_an_id_beyond_the_thread_starts_at_the_beginning(
    http: httpx.AsyncClient, thread: str, after: str
) -> None:
    one = await run(http, thread)
    async with follow(http, thread, after) as following:
        await until(lambda: following.done == [one])
    assert len(following.events) == 6


@pytest.mark.parametrize("after", ["nonsense", f"{UNKNOWN_ID}@1-0", "@", "1-"])
async def test_an_invalid_id_starts_with_the_next_event(
    http: httpx.AsyncClient, thread: str, after: str
) -> None:
    await run(http, thread)
    async with follow(http, thread, after) as following:
        two = await run(http, thread)
        await until(lambda: following.done == [two])


@covers(ThreadStreamQuery, "last_event_id")
async def test_the_location_resumes_at_the_start_of_the_stream(
    http: httpx.AsyncClient, thread: str
) -> None:
    one = await run(http, thread)
    async with follow(http, thread, stream_mode="lifecycle") as following:
        back = following.location
    two = await run(http, thread)
    async with follow(http, tail=back) as following:
        [(_, begun, first), (_, ended, _)] = await following.at_least(2)
        assert (begun["run_id"], ended["run_id"]) == (two, two)
        again = following.location
    async with follow(http, thread, first, tail=again) as following:  # the header takes precedence
        assert [data for _, data, _ in await following.at_least(1)] == [ended]
    async with follow(http, thread, last_event_id="-") as following:
        await until(lambda: following.done == [one, two])


async def test_invalid_requests_are_rejected(http: httpx.AsyncClient, thread: str) -> None:
    assert (await http.get(f"/threads/{UNKNOWN_ID}/stream")).status_code == 404
    assert (await http.get("/threads/x/stream")).status_code == 422
    response = await http.get(f"/threads/{thread}/stream", params={"stream_mode": "loud"})
    assert (response.status_code, "stream_mode" in detail(response)) == (422, True)
    response = await http.get(f"/threads/{thread}/stream", params={"last_event_id": "1-x"})
    assert (response.status_code, "last_event_id" in detail(response)) == (422, True)


async def test_a_failing_stream_ends_with_an_error(
    system: System, http: httpx.AsyncClient, thread: str
) -> None:
    created = await http.post(f"/threads/{thread}/runs", json=STEPS)
    tail = f"/threads/{thread}/runs/{created.json()['run_id']}"

    async def has_ended() -> (
        bool
    ):  # without a follower: else the API would have its events in memory
        return bool((await http.get(tail)).json()["status"] == "success")

    await until(has_ended)
    with Redis.from_url(system.fleet.redis_url) as redis:
        events = keys.events(thread, created.json()["run_id"])
        redis.delete(events)
        redis.xadd(events, {"@updates": "no JSON"}, id="1-1")
        redis.expire(events, 60)
    path = f"/threads/{thread}/stream"
    subscription = {"channels": ["updates"], "namespaces": [["child"]]}
    plain = await http.get(path, params={"last_event_id": "-"})
    message = "The stream of the thread failed. Open it again."
    failed = ("error", {"error": "StreamFailed", "message": message})
    assert parse_sse(plain.text)[-1] == failed
    protocol = await http.post(f"{path}/events", json=subscription)
    error = {"type": "error", "id": None, "error": "unknown_error", "message": message}
    assert parse_sse(protocol.text)[-1] == ("error", error)
    async with open_socket(system.url, thread) as client:
        await client.send(1, "subscription.subscribe", **subscription)
        await until(lambda: client.code is not None)
        assert (client.replies[None], client.code) == (error, 1011)


async def test_a_deleted_run_is_skipped(http: httpx.AsyncClient, thread: str) -> None:
    one, two = await run(http, thread), await run(http, thread)
    await http.delete(f"/threads/{thread}/runs/{one}")
    async with follow(http, thread, "-") as following:
        await until(lambda: following.done == [two])
    assert names(following.events) == ["metadata", *["values"] * 2, "metadata"]


def test_every_field_is_tested() -> None:
    assert COVERED_FIELDS[ThreadStreamQuery] == set(ThreadStreamQuery.model_fields)
