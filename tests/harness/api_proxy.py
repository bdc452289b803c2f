"""A loopback TCP proxy: clients keep one address while the API behind it is replaced."""

import asyncio
import contextlib
import random
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class ApiProxy:
    """Relays each connection to the current API, and can cut connections."""

    def __init__(self) -> None:
        self.backend: tuple[str, int] | None = None
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<ApiProxy {self.url} to {self.backend}, {len(self._relays)} connections>"

    @property
    def url(self) -> str:
        """The address for clients. It stays the same while the proxy runs."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def route_to(self, url: str) -> None:
        """Relays new connections to that API."""
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        self.backend = (address.hostname, address.port)

    def cut(self, choose: random.Random, share: float) -> int:
        """Cuts a random share of the open connections. Returns their number."""
        chosen = [relay for relay in list(self._relays) if choose.random() < share]
        for relay in chosen:
            relay.cancel()
        return len(chosen)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for relay in list(self._relays):
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self.backend is not None:
                back, forth = await asyncio.open_connection(*self.backend)
                try:
                    await _until_one_closes(_pump(reader, forth), _pump(back, writer))
                finally:
                    forth.transport.abort()
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def _until_one_closes(
    up: "asyncio._CoroutineLike[None]", down: "asyncio._CoroutineLike[None]"
) -> None:
    tasks = {asyncio.create_task(up), asyncio.create_task(down)}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
