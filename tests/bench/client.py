"""A cheap client: plain sockets, and it counts events in the bytes without parsing them."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(slots=True)
class Timing:
    """One run as its client measured it; times in ms from the first byte sent."""

    headers: float = 0.0
    first_event: float = 0.0
    first_graph_event: float = 0.0
    total: float = 0.0
    events: int = 0


@dataclass(slots=True)
class Load:
    """Many runs and their wall time (s)."""

    timings: list[Timing] = field(default_factory=list)
    wall: float = 0.0


class Client:
    """A client of one server; each request opens a connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname in ("127.0.0.1", "localhost", "::1"), "loopback only"
        self._host, self._port = parts.hostname, parts.port or 80

    async def post(self, path: str, body: dict[str, Any]) -> tuple[bytes, Timing]:
        """Sends a request and reads the response to its end. Fails on any status but 200."""
        timing, begun = Timing(), time.perf_counter()

        def now() -> float:
            return (time.perf_counter() - begun) * 1e3

        reader, writer = await asyncio.open_connection(self._host, self._port, limit=1 << 22)
        payload = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(payload)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + payload)
        try:
            status = await reader.readline()
            assert b" 200 " in status, status
            while (await reader.readline()) not in (b"\r\n", b""):
                pass
            timing.headers = now()
            parts = []
            while part := await reader.read(65536):
                count = part.count(b"event: ")
                if count and not timing.first_event:
                    timing.first_event = now()
                if count > part.count(b"event: metadata") and not timing.first_graph_event:
                    timing.first_graph_event = now()
                timing.events += count
                parts.append(part)
            timing.total = now()
            return b"".join(parts), timing
        finally:
            writer.close()

    async def run(self, request: dict[str, Any], *, stateless: bool = False) -> Timing:
        """Streams one run to its end, on a new thread."""
        path = "/runs/stream"
        if not stateless:
            created, _ = await self.post("/threads", {})
            thread = json.loads(created[created.index(b"{") : created.rindex(b"}") + 1])
            path = f"/threads/{thread['thread_id']}/runs/stream"
        body, timing = await self.post(path, request)
        assert b'{"status":"success"}' in body, body[-300:]
        return timing

    async def load(self, request: dict[str, Any], *, clients: int, runs: int) -> Load:
        """Streams `runs` runs, `clients` at a time."""
        result, left = Load(), iter(range(runs))

        async def work() -> None:
            for _ in left:
                result.timings.append(await self.run(request))

        begun = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(clients)))
        result.wall = time.perf_counter() - begun
        return result
