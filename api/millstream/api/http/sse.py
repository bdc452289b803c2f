"""Sends the entries of a stream over an open connection: event streams, and results that take time.

Both kinds of response send a keepalive at each interval, notice at once when the client leaves, and break off
when the process stops. The client's SDK then continues at `Location`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from millstream.api.stream_watch import StreamWatch
from millstream.shared.events.entries import Entry
from millstream.shared.events.modes import MODES
from millstream.shared.events.protocol import to_run_event
from millstream.shared.events.reader import Reader
from millstream.shared.events.thread_stream import ThreadReader
from millstream.shared.redis import OUTAGE_ERRORS, OutageLog
from millstream.shared.wire import to_json

log = logging.getLogger(__name__)

# The comment line alone: a blank line after it would make the npm SDK yield an empty event.
KEEPALIVE: Final = b": heartbeat\r\n"
WHITE_SPACE: Final = b"\n"
MODE_OF: Final = {event.encode(): mode.name for mode in MODES.values() for event in mode.events}
ALWAYS: Final = frozenset({b"metadata", b"error", b"end", b"gap"})
FAILED: Final = "The stream of the thread failed. Open it again."
OUTAGES: Final = OutageLog(log, "Open streams")
MIN_READ_TIMEOUT: Final = 2.0  # s for one read from Redis

AnyReader = Reader | ThreadReader
Leave = Callable[[], Awaitable[object]]
Output = Callable[[Entry], Awaitable[bytes]]  # a run's last event → the response's body


def frame(entry: Entry) -> bytes:
    """Returns one event as bytes of the stream. A `gap` has no id, so that the client keeps its last one."""
    if entry.event == b"gap":
        return b"event: gap\r\ndata: %b\r\n\r\n" % entry.data
    return b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % (entry.event, entry.data, entry.id)


def is_streamed(event: bytes, modes: frozenset[str]) -> bool:
    """Returns whether a client with these stream modes gets the event. No modes mean all."""
    if not modes or event in ALWAYS:
        return True
    return MODE_OF.get(event.partition(b"|")[0]) in modes


class _FollowingResponse(Response):
    """A response that follows a run until its end."""

    keepalive_text: bytes
    failed_text = b""  # sent last if reading fails; if empty, the connection breaks off

    def __init__(
        self,
        reader: AnyReader,
        watch: StreamWatch,
        *,
        headers: dict[str, str],
        media_type: str,
        keepalive: float,
        on_leave: Leave | None,
    ) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.media_type = media_type
        self.init_headers(headers)
        self._reader = reader
        self._watched = watch
        self._keepalive = keepalive
        self._on_leave = on_leave
        self._gone = False
        self._tick = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the run has ended, the client has left, or the process stops. HEAD gets the headers alone."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":  # its client waits for the end of a body that it does not get
            self._reader.close()
            await send(_chunk(b"", more=False))
            return
        disconnected = asyncio.create_task(self._watch(receive))
        self._schedule()
        self._watched.opened()
        try:
            await self._follow(send)
        finally:
            disconnected.cancel()
            self._timer.cancel()
            self._reader.close()
            self._watched.closed()
        if self._gone and not self._reader.ended and self._on_leave is not None:
            await self._leave()

    def _schedule(self) -> None:
        """Ticks every keepalive interval from now on, however busy the stream is."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        count = 0

        def tick() -> None:
            nonlocal count
            count += 1
            self._tick = True
            self._reader.news.set()
            self._timer = loop.call_at(begun + (count + 1) * self._keepalive, tick)

        self._timer = loop.call_at(begun + self._keepalive, tick)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._reader.news.set()

    async def _follow(self, send: Send) -> None:
        reader = self._reader
        while True:
            await reader.news.wait()
            if self._gone:
                return
            if reader.closing:
                return  # without the last chunk: a clean end would tell the JS SDK that the stream is complete
            entries: list[Entry] = []
            body, over = b"", False
            try:
                # A Redis that does not respond must not delay the keepalives.
                async with asyncio.timeout(max(self._keepalive, MIN_READ_TIMEOUT)):
                    entries = [] if reader.ended else await reader.read()
                    body = await self._body(entries)
                    over = reader.ended
                OUTAGES.recovered()
            except OUTAGE_ERRORS as error:
                await OUTAGES.wait_after(error)
                reader.news.set()
            except Exception:
                if not self.failed_text:
                    raise  # the client continues at `Location`
                log.exception(
                    "An event stream was closed by an error of the server. The client may continue with Last-Event-ID."
                )
                body, over = self.failed_text, True
            if self._tick:
                self._tick = False
                body = self.keepalive_text + body
            if entries:
                reader.news.set()  # more entries may be stored
            if body or over:
                await send(_chunk(body, more=not over))
            if entries and body:
                self._watched.sent(entries, slow=reader.fell_behind)
            if over:
                return

    async def _body(self, entries: list[Entry]) -> bytes:
        """Returns the bytes to send. After an error it is called again, at the end without entries."""
        raise NotImplementedError

    async def _leave(self) -> None:
        assert self._on_leave is not None
        try:
            await self._on_leave()
        except OUTAGE_ERRORS as error:
            log.warning(
                "A client left, but its run could not be cancelled and continues: %s", error
            )


class EventStream(_FollowingResponse):
    """`text/event-stream`: the run's events."""

    keepalive_text = KEEPALIVE

    def __init__(
        self,
        reader: AnyReader,
        watch: StreamWatch,
        *,
        headers: dict[str, str],
        keepalive: float,
        modes: frozenset[str] = frozenset(),
        on_leave: Leave | None = None,
    ) -> None:
        """`modes` are the stream modes to send, all if empty; `keepalive` is in seconds."""
        headers = {
            **headers,
            "cache-control": "no-store",
            "connection": "keep-alive",
            "x-accel-buffering": "no",
        }
        super().__init__(
            reader,
            watch,
            headers=headers,
            media_type="text/event-stream",
            keepalive=keepalive,
            on_leave=on_leave,
        )
        self._modes = modes

    async def _body(self, entries: list[Entry]) -> bytes:
        return b"".join(
            frame(entry)
            for entry in map(to_run_event, entries)
            if entry is not None and is_streamed(entry.event, self._modes)
        )


class ThreadStream(EventStream):
    """The events of a thread. The stream ends only by an error, and then with an `error` event."""

    failed_text = b"event: error\r\ndata: %b\r\n\r\n" % to_json(
        {"error": "StreamFailed", "message": FAILED}
    )


class ProtocolStream(EventStream):
    """A ThreadStream with the error event of the event streaming protocol."""

    failed_text = b"event: error\r\ndata: %b\r\n\r\n" % to_json(
        {"type": "error", "id": None, "error": "unknown_error", "message": FAILED}
    )


class FinalOutput(_FollowingResponse):
    """`application/json`: white space until the run ends, then the body from `output`."""

    keepalive_text = WHITE_SPACE

    def __init__(
        self,
        reader: Reader,
        watch: StreamWatch,
        output: Output,
        *,
        headers: dict[str, str],
        keepalive: float,
        on_leave: Leave | None = None,
    ) -> None:
        """`output` returns the body for the run's last entry; `keepalive` is in seconds."""
        super().__init__(
            reader,
            watch,
            headers=headers,
            media_type="application/json",
            keepalive=keepalive,
            on_leave=on_leave,
        )
        self._output = output
        self._end: Entry | None = None  # kept for a repeated call of `output` after an outage

    async def _body(self, entries: list[Entry]) -> bytes:
        if self._reader.ended and entries:
            self._end = entries[-1]
        return b"" if self._end is None else await self._output(self._end)


def _chunk(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
