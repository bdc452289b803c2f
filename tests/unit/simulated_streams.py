"""Responses that follow a simulated run, with simulated clients."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.types import Message

from millstream.api.http.sse import (
    EventStream,
    FinalOutput,
)
from millstream.api.stream_watch import StreamWatch
from millstream.shared.events.entries import Entry
from millstream.shared.observer import RunObserver

Step = list[Entry] | Exception | Callable[[], Awaitable[list[Entry]]]


def entry(index: int, event: bytes = b"values", data: bytes = b"{}") -> Entry:
    return Entry((1, index), event, data)


END = entry(9, b"end", b'{"status":"success"}')


class SimulatedReader:
    """A reader whose pages, errors and delays are those of the test."""

    def __init__(self, *steps: Step) -> None:
        self.news = asyncio.Event()
        self.news.set()
        self.ended = False
        self.closing = False
        self.fell_behind = False
        self.closed = False
        self._steps = list(steps)

    async def read(self) -> list[Entry]:
        self.news.clear()
        step = self._steps.pop(0) if self._steps else []
        if isinstance(step, Exception):
            raise step
        entries = step if isinstance(step, list) else await step()
        self.ended = bool(entries) and entries[-1].event == b"end"
        return entries

    def close(self) -> None:
        self.closed = True


class Client:
    """The other end: takes what is sent, with the time, and leaves when the test says so."""

    def __init__(self) -> None:
        self.chunks: list[tuple[float, bytes]] = []
        self.complete = False
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        self._leaving.set()

    async def receive(self) -> Message:
        await self._leaving.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            return
        now = asyncio.get_running_loop().time()
        self.chunks.append((round(now, 3), message["body"]))
        self.complete = not message["more_body"]

    @property
    def text(self) -> bytes:
        return b"".join(body for _, body in self.chunks)

    def times(self, text: bytes) -> list[float]:
        return [at for at, body in self.chunks if text in body]


class Observer(RunObserver):
    """Notes what becomes of streams."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def stream_opened(self, thread_id: str, run_id: str | None) -> None:
        self.seen.append("opened")

    def first_event(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        self.seen.append("first event")

    def stream_closed(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        self.seen.append("closed")


def watch() -> StreamWatch:
    return StreamWatch(Observer(), "t", "r")


def stream(
    reader: SimulatedReader, kind: type[EventStream] = EventStream, **options: Any
) -> EventStream:
    options = {"headers": {}, "keepalive": 1.0, **options}
    return kind(reader, watch(), **options)  # type: ignore[arg-type]


def final(reader: SimulatedReader, answers: list[bytes | Exception], **options: Any) -> FinalOutput:
    """Returns a response whose body is the first answer that is no error."""

    async def output(end: Entry) -> bytes:
        assert end is END
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    options = {"headers": {}, "keepalive": 1.0, **options}
    return FinalOutput(reader, watch(), output, **options)  # type: ignore[arg-type]


def later(seconds: float, *entries: Entry) -> Step:
    async def read() -> list[Entry]:
        await asyncio.sleep(seconds)
        return list(entries)

    return read


async def follow(response: EventStream | FinalOutput, client: Client, until: float = 60.0) -> None:
    """Has the client follow the response to its end, or for this number of seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(until):
            await response({"type": "http", "method": "GET"}, client.receive, client.send)
