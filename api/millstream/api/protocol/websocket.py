"""The event streaming protocol over a WebSocket: commands and events on one connection.

A client may have several subscriptions. It gets each event that matches one of them once, and in order. After a new
subscription, the stream begins again at the subscription's start, without the events that were sent already.
"""

import asyncio
import logging
import uuid
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from millstream.api.auth.credentials import accepted_subprotocol
from millstream.api.context import RequestContext
from millstream.api.http.body import parse
from millstream.api.http.context import context_of, renewed
from millstream.api.http.limits import MAX_REASON_CHARS, TOO_MANY
from millstream.api.http.problems import sentence
from millstream.api.http.sse import FAILED, OUTAGES
from millstream.api.outages import unavailable
from millstream.api.protocol.commands import (
    CommandError,
    Reply,
    error_reply,
    execute,
    read_command,
    success_reply,
)
from millstream.api.protocol.events import EventMatcher, ProtocolEntry, protocol_translator
from millstream.api.protocol.schemas import ProtocolCommand, Subscribe, Unsubscribe
from millstream.api.threads import operations as threads
from millstream.api.uuids import canonical_uuid
from millstream.shared.errors import (
    AccessError,
    InvalidError,
    MillstreamError,
    RateLimitedError,
    TooLargeError,
    UnavailableError,
)
from millstream.shared.events.entries import START, Entry, Position
from millstream.shared.events.protocol import position_of
from millstream.shared.events.thread_stream import ThreadReader
from millstream.shared.redis import OUTAGE_ERRORS
from millstream.shared.wire import to_json

log = logging.getLogger(__name__)

# Close codes: 4000 + the status that HTTP would have, as the SDKs read them; 1012 lets clients reconnect.
INVALID: Final = 4422
UNAUTHENTICATED: Final = 4401
FORBIDDEN: Final = 4403
GONE: Final = 4404
RESTARTING: Final = 1012
FAILURE: Final = 1011
MAX_SUBSCRIPTIONS: Final = 100


class _Union:
    """Matches the events of all subscriptions that were not sent yet."""

    def __init__(self) -> None:
        self.subscriptions: dict[str, EventMatcher] = {}
        self._sent: list[EventMatcher] = []  # whose events were all sent up to
        self._sent_to: Position = START

    def add(self, subscription_id: str, matcher: EventMatcher, cursor: Position) -> None:
        """Adds a subscription. Events of the earlier ones up to the cursor were sent, and do not match again."""
        self._sent, self._sent_to = list(self.subscriptions.values()), cursor
        self.subscriptions[subscription_id] = matcher

    def matches(self, position: Position, method: bytes, params: bytes) -> bool:
        """Returns whether to send the event."""
        if position <= self._sent_to and any(
            each.matches(position, method, params) for each in self._sent
        ):
            return False
        return any(each.matches(position, method, params) for each in self.subscriptions.values())


class ProtocolSocket:
    """One client's connection."""

    def __init__(self, websocket: WebSocket, context: RequestContext, thread_id: str) -> None:
        """`websocket` is not accepted yet: `serve()` accepts it."""
        self._websocket = websocket
        self._context = context
        self._thread_id = thread_id
        self._union = _Union()
        self._cursor: Position = START
        self._reader: ThreadReader | None = None
        self._has_reader = asyncio.Event()
        self._sending = asyncio.Lock()  # held while a page of events is sent
        self._is_refused = False  # the credentials are not valid any more
        self._watch = threads.watch_of(context, thread_id)

    async def serve(self) -> None:
        """Executes commands and sends events until the client leaves or the process stops."""
        await self._websocket.accept(accepted_subprotocol(self._websocket))
        self._watch.opened()
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send_events())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, WebSocketDisconnect):
                    log.error(
                        "A WebSocket connection was closed by an error of the server. The client may connect again.",
                        exc_info=ended,
                    )
            if self._reader is not None:
                self._reader.close()
            self._watch.closed()

    async def _send(self, text: str) -> None:
        if self._websocket.application_state is WebSocketState.CONNECTED:
            await self._websocket.send_text(text)

    # ── Commands ────────────────────────────────────────────────────────────────────────────

    async def _receive(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            frame = message.get("text") or message.get("bytes") or b""
            reply = await self._answer(frame.encode() if isinstance(frame, str) else frame)
            await self._send(to_json(reply).decode())
            await asyncio.sleep(
                0
            )  # one read may hold thousands of messages, and none of them waits
            if self._is_refused:
                await self._websocket.close(
                    UNAUTHENTICATED, "The credentials are not valid any more."
                )
                return

    async def _renew(self) -> None:
        """Checks the credentials again, which may have expired or been revoked since the handshake."""
        try:
            self._context = await renewed(self._websocket, self._context)
        except AccessError:
            self._is_refused = True
            raise

    async def _answer(self, frame: bytes) -> Reply:
        value: Any = None
        try:
            try:
                value = await self._parse(frame)
            finally:  # an invalid message counts too
                await self._context.limits.take_request()
            command = read_command(value)
            await self._renew()  # each command is decided anew
            if command.method.startswith("subscription."):
                result = await self._subscription(command)
                return success_reply(command.id, result)
            return await execute(self._context, self._thread_id, command)
        except ValidationError as error:
            command_error: MillstreamError = CommandError("invalid_argument", sentence(error))
        except (
            AccessError,
            CommandError,
            InvalidError,
            TooLargeError,
            UnavailableError,
        ) as error:
            command_error = error
        except OUTAGE_ERRORS as error:
            OUTAGES.failed(error)
            command_error = unavailable(error, self._context.process)
        return error_reply(value.get("id") if isinstance(value, dict) else None, command_error)

    async def _parse(self, frame: bytes) -> Any:
        limits = self._context.limits
        limits.hold_bytes(len(frame))
        try:
            return await parse(frame, limits, self._context.settings.max_values)
        finally:
            limits.release_body()

    async def _subscription(self, command: ProtocolCommand) -> Reply:
        known = self._union.subscriptions
        if command.method == "subscription.subscribe":
            query = Subscribe.model_validate(command.params)
            if len(known) >= MAX_SUBSCRIPTIONS:
                raise CommandError(
                    "invalid_argument", f"At most {MAX_SUBSCRIPTIONS} subscriptions per connection."
                )
            after = START if query.since is None else position_of(query.since)
            subscription_id = str(uuid.uuid4())
            async with self._sending:
                after = await self._begin(after)
                self._union.add(subscription_id, EventMatcher(query, after), self._cursor)
            self._has_reader.set()
            return {"subscription_id": subscription_id}
        if command.method == "subscription.unsubscribe":
            subscription_id = Unsubscribe.model_validate(command.params).subscription_id
            if known.pop(subscription_id, None) is None:
                raise CommandError("no_such_subscription", "There is no such subscription.")
            return {}
        raise CommandError("not_supported", f"{command.method[:100]} is not supported.")

    # ── Events ──────────────────────────────────────────────────────────────────────────────

    async def _begin(self, after: Position) -> Position:
        """Opens a reader at the start of the new subscription, or at the cursor if that is earlier.

        Wakes the task that waits for the old reader, so that it uses the new one. Returns the position after which
        the subscription begins.
        """
        starts = after if self._reader is None else min(after, self._cursor)
        translate = protocol_translator(self._union.matches)
        reader, begins = await threads.follow(self._context, self._thread_id, translate, starts)
        if self._reader is None:
            after = begins
        else:
            self._reader.close()
            self._reader.news.set()
        self._reader = reader
        return after

    async def _send_events(self) -> None:
        await self._has_reader.wait()
        while True:
            reader = self._reader
            assert reader is not None
            await reader.news.wait()
            if reader.closing:
                await self._websocket.close(RESTARTING, "The server is restarting.")
                return
            try:
                async with self._sending:
                    await self._send_page()
            except OUTAGE_ERRORS as error:
                await OUTAGES.wait_after(error)
                reader.news.set()
            except WebSocketDisconnect:
                raise
            except Exception:
                log.exception(
                    "A WebSocket connection was closed by an error of the server. The client may connect again."
                )
                await self._send(
                    to_json(error_reply(None, CommandError("unknown_error", FAILED))).decode()
                )
                await self._websocket.close(FAILURE, FAILED)
                return
            if reader.ended:
                await self._websocket.close(GONE, "The thread was deleted.")
                return

    async def _send_page(self) -> None:
        reader = self._reader
        assert reader is not None
        entries = await reader.read()
        for entry in entries:
            await self._send(_frame(entry))
            self._cursor = max(self._cursor, entry.position)
        if entries:
            self._watch.sent(entries, slow=reader.fell_behind)
            reader.news.set()


def _frame(entry: Entry) -> str:
    if isinstance(entry, ProtocolEntry):
        return entry.data.decode()
    return to_json({"type": "gap", "data": msgspec.Raw(entry.data)}).decode()


async def connect(websocket: WebSocket) -> None:
    """`WS /threads/{thread_id}/stream/events`, for pages whose origin `http.cors` allows."""
    context = context_of(websocket)
    subprotocol = accepted_subprotocol(websocket)
    origin = websocket.headers.get("origin")
    if origin is not None and not context.process.http.cors.allows(origin):
        await websocket.accept(subprotocol)  # browsers can't read the status of a refused handshake
        await websocket.close(FORBIDDEN, "This origin is not allowed.")
        return
    thread_id = canonical_uuid(websocket.path_params["thread_id"])
    if thread_id is None:
        await websocket.accept(subprotocol)
        await websocket.close(INVALID, "Invalid thread ID: must be a UUID")
        return
    try:
        await context.authorize("threads.read", {"thread_id": thread_id})
        context.limits.hold_stream()
    except AccessError as error:
        await websocket.accept(subprotocol)
        await websocket.close(4000 + error.status, str(error)[:MAX_REASON_CHARS])
        return
    except RateLimitedError as error:
        await websocket.accept(subprotocol)
        await websocket.close(TOO_MANY, str(error)[:MAX_REASON_CHARS])
        return
    except UnavailableError as error:  # nobody can decide now
        await websocket.accept(subprotocol)
        await websocket.close(RESTARTING, str(error)[:MAX_REASON_CHARS])
        return
    await ProtocolSocket(websocket, context, thread_id).serve()
