"""A client of the event streaming protocol over HTTP: commands, and streams of events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from harness.waiting import until
from millstream.shared.events.protocol import CHANNELS

Event = dict[str, Any]
ALL_CHANNELS = list(CHANNELS)


class EventStream:
    """One stream with the events that it has received."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.frames: list[tuple[str, str]] = []  # name, id
        self.keepalives = 0
        self.closed = False

    async def listen(self, response: httpx.Response) -> None:
        name = ""
        async for line in response.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                self.events.append(json.loads(value))
            elif field == "id":
                self.frames.append((name, value))
            elif line.startswith(": "):
                self.keepalives += 1
        self.closed = True

    async def at_least(self, count: int) -> list[Event]:
        """Waits until at least `count` events have arrived; returns all events."""
        await until(lambda: len(self.events) >= count, what=f"{count} events in {self.events}")
        return self.events

    async def ended(self, runs: int = 1) -> list[Event]:
        """Waits until at least `runs` runs have ended, in any way; returns all events."""
        await until(lambda: len(self.ends) >= runs, what=f"{runs} ends in {self.lifecycle}")
        return self.events

    @property
    def ends(self) -> list[str]:
        """The statuses with which runs ended."""
        return [s for s in self.lifecycle if s in ("completed", "failed", "interrupted")]

    @property
    def lifecycle(self) -> list[str]:
        """The lifecycle statuses of the root graph."""
        return [
            str(event["params"]["data"]["event"])
            for event in self.events
            if event.get("method") == "lifecycle" and not event["params"]["namespace"]
        ]

    def data_of(self, method: str) -> list[Any]:
        return [event["params"]["data"] for event in self.events if event.get("method") == method]


@asynccontextmanager
async def follow(
    http: httpx.AsyncClient,
    thread: str,
    channels: list[str] | None = None,
    *,
    last: int | None = None,
    **fields: Any,
) -> AsyncIterator[EventStream]:
    """Yields a stream of the thread's events."""
    body = {"channels": channels or ALL_CHANNELS, **fields}
    headers = {} if last is None else {"last-event-id": str(last)}
    path = f"/threads/{thread}/stream/events"
    async with http.stream("POST", path, json=body, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "location" not in response.headers
        following = EventStream()
        listening = asyncio.create_task(following.listen(response))
        try:
            yield following
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def command(http: httpx.AsyncClient, thread: str, method: str, **params: Any) -> Any:
    """Sends a command; returns its result."""
    reply = await send(http, thread, {"id": 7, "method": method, "params": params})
    assert (reply["type"], reply["id"]) == ("success", 7), reply
    assert reply["meta"] == {"applied_through_seq": 0}
    return reply["result"]


async def send(http: httpx.AsyncClient, thread: str, body: Any, status: int = 200) -> Any:
    response = await http.post(f"/threads/{thread}/commands", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def start(http: httpx.AsyncClient, thread: str, graph: str, **params: Any) -> str:
    """Starts a run by a command; returns its id."""
    params = {"assistant_id": graph, "input": {"items": []}, **params}
    return str((await command(http, thread, "run.start", **params))["run_id"])
