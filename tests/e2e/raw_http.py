"""One HTTP exchange over a socket of the test's own, to be read byte by byte and cut at will."""

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

HEARTBEAT = b": heartbeat\r\n"
WITHIN = 20.0  # s that any read may take


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: Any
    id: str | None


def parse(raw: bytes) -> list[Event]:
    """Returns the events of a stream; comments are no events."""
    events = []
    for block in raw.replace(HEARTBEAT, b"").split(b"\r\n\r\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.decode().split("\r\n"))
        events.append(Event(fields["event"], json.loads(fields["data"]), fields.get("id")))
    return events


class RawResponse:
    """An exchange whose answer has begun."""

    def __init__(
        self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.url = url
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""  # as far as it was read
        self.ended = False  # whether the server said that the body is complete

    @classmethod
    async def open(
        cls,
        url: str,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Self:
        """Sends a request and reads the head of its answer."""
        place = urlsplit(url)
        assert place.hostname is not None
        response = cls(url, *await asyncio.open_connection(place.hostname, place.port))
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"host: {place.netloc}"]
        lines += [f"content-length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        response._writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        async with asyncio.timeout(WITHIN):
            head = (await response._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        response.status = int(head[0].split()[1])
        response.headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
        return response

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def ids(self) -> tuple[str | None, str]:
        """The thread (None of a stateless run) and the run, as content-location tells."""
        *place, run = self.headers["content-location"].strip("/").split("/")
        return (place[1] if place[0] == "threads" else None), run

    async def more(self) -> bool:
        """Reads the next piece of the body; False when there is none."""
        if self.status == 204:
            self.ended = True
            return False
        async with asyncio.timeout(WITHIN):
            if "transfer-encoding" not in self.headers:
                self.body += await self._reader.readexactly(int(self.headers["content-length"]))
                self.ended = True
                return False
            try:
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                self.body += (await self._reader.readexactly(size + 2))[:-2]
            except (asyncio.IncompleteReadError, ConnectionError):
                return False
        self.ended = size == 0
        return size > 0

    async def rest(self) -> bytes:
        """Reads to the end; returns the whole body."""
        while await self.more():
            pass
        return self.body

    async def events(self) -> list[Event]:
        """Reads to the end; returns all events."""
        return parse(await self.rest())

    async def until_events(self, count: int, name: str = "") -> list[Event]:
        """Reads until there were so many events (of a name); returns all so far."""
        while True:
            events = parse(self.body)
            if sum(event.name == (name or event.name) for event in events) >= count:
                return events
            assert await self.more(), f"the stream ended after {events}"

    async def until_heartbeat(self) -> None:
        """Reads until a keepalive: what was readable before it has been read."""
        before = self.body.count(HEARTBEAT)
        while self.body.count(HEARTBEAT) == before:
            assert await self.more(), "the stream ended"

    async def close(self) -> None:
        """Leaves as a client that closes its connection."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def reset(self) -> None:
        """Leaves as a client that vanishes: the server gets an RST."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger
        )
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


async def call_api(
    url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Sends a request of its own; returns its status and JSON."""
    async with await RawResponse.open(url, method, path, body, headers) as response:
        raw = await response.rest()
        return response.status, json.loads(raw) if raw.strip() else None
