"""A TCP proxy between a client and an API that cuts one connection in the middle of a stream."""

import asyncio
import re
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class CuttingProxy:
    """Relays every connection, but resets the first one after `after` events.

    The cut is in the middle of an event: half of it arrives before the reset.
    """

    def __init__(self, url: str, *, after: int) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname, address.port
        self._after = after
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self.cuts = 0
        self.requests: list[bytes] = []  # the heads of all requests

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

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
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        try:
            await self._relay(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._relays.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(self._host, self._port)

        async def up() -> None:
            while data := await reader.read(65536):
                self.requests += [d for d in data.split(b"\r\n\r\n") if b" HTTP/1.1\r\n" in d]
                forth.write(data)
                await forth.drain()
            forth.write_eof()

        async def down() -> None:
            seen = 0
            while data := await back.read(65536):
                events = [match.start() for match in re.finditer(b"event: ", data)]
                seen += len(events)
                if not self.cuts and seen > self._after:
                    self.cuts += 1
                    writer.write(data[: events[self._after - seen] + 12])
                    await writer.drain()
                    return
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            forth.transport.abort()
