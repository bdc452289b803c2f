"""A client of the event streaming protocol over a WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from harness.waiting import until


class EventSocket:
    """One connection with the replies and events that it has received."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self.replies: dict[Any, dict[str, Any]] = {}
        self.code: int | None = None

    async def listen(self) -> None:
        try:
            async for frame in self.connection:
                message = json.loads(frame)
                if message["type"] == "event":
                    self.events.append(message)
                else:
                    self.replies[message.get("id")] = message  # a gap has no id
        except ConnectionClosed:
            pass
        self.code = self.connection.close_code

    async def send(self, number: int, method: str, **params: Any) -> dict[str, Any]:
        await self.connection.send(json.dumps({"id": number, "method": method, "params": params}))
        await until(lambda: number in self.replies)
        return self.replies[number]

    async def subscribe(self, number: int, *channels: str, **more: Any) -> str:
        reply = await self.send(number, "subscription.subscribe", channels=list(channels), **more)
        assert reply["type"] == "success", reply
        return str(reply["result"]["subscription_id"])

    async def at_least(self, count: int) -> list[dict[str, Any]]:
        await until(lambda: len(self.events) >= count, what=f"{count} events in {self.events}")
        return self.events


@asynccontextmanager
async def open_socket(url: str, thread: str) -> AsyncIterator[EventSocket]:
    """Yields a connection to a thread on the API at that URL."""
    address = f"{url.replace('http', 'ws')}/threads/{thread}/stream/events"
    async with connect(address) as connection:
        opened = EventSocket(connection)
        listening = asyncio.create_task(opened.listen())
        try:
            yield opened
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
