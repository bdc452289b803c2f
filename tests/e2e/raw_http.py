"""An HTTP request over a plain socket, whose response can be read in parts and cut."""

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

HEARTBEAT = b": heartbeat\r\n"
READ_SECONDS = 20.0  # that one read may take


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: Any
    id: str | None


def parse(raw: bytes) -> list[Event]:
    """Returns the events of a stream, without comments."""
    events = []
    for block in raw.replace(HEARTBEAT, b"").split(b"\r\n\r\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.decode().split("\r\n"))
        events.append(Event(fields["event"], json.loads(fields["data"]), fields.get("id")))
    return events


class RawResponse:
    """A response whose head has arrived."""

    def __init__(
        self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.url = url
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""  # the part that was read
        self.ended = False  # whether the body is complete

    @classmethod
    async def open(
        cls,
        url: str,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Self:
        """Sends a request and reads the head of its response."""
        address = urlsplit(url)
        assert address.hostname is not None
        response = cls(url, *await asyncio.open_connection(address.hostname, address.port))
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"host: {address.netloc}"]
        lines += [f"content-length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        response._writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        async with asyncio.timeout(READ_SECONDS):
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
        """The ids of the thread (None for a stateless run) and the run, from content-location."""
        *path, run = self.headers["content-location"].strip("/").split("/")
        return (path[1] if path[0] == "threads" else None), run

    async def more(self) -> bool:
        """Reads the next part of the body. Returns False at its end."""
        if self.status == 204:
            self.ended = True
            return False
        async with asyncio.timeout(READ_SECONDS):
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
        """Reads to the end. Returns the whole body."""
        while await self.more():
            pass
        return self.body

    async def events(self) -> list[Event]:
        """Reads to the end. Returns all events."""
        return parse(await self.rest())

    async def until_events(self, count: int, name: str = "") -> list[Event]:
        """Reads until at least `count` events (of a name) have arrived. Returns all so far."""
        while True:
            events = parse(self.body)
            if sum(event.name == (name or event.name) for event in events) >= count:
                return events
            assert await self.more(), f"the stream ended after {events}"

    async def until_heartbeat(self) -> None:
        """Reads until the next keepalive, so that all earlier data has been read."""
        before = self.body.count(HEARTBEAT)
        while self.body.count(HEARTBEAT) == before:
            assert await self.more(), "the stream ended"

    async def close(self) -> None:
        """Closes the connection with a FIN."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def reset(self) -> None:
        """Closes the connection with an RST."""
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
    """Sends a request; returns the status and the JSON of the response."""
    async with await RawResponse.open(url, method, path, body, headers) as response:
        raw = await response.rest()
        return response.status, json.loads(raw) if raw.strip() else None
