"""The event streaming protocol over HTTP: commands, and the events of a thread. Source: langchain_protocol."""

from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import decode, json_response, path_uuid, read_body
from millstream.api.http.context import context_of
from millstream.api.http.problems import sentence
from millstream.api.http.sse import ProtocolStream
from millstream.api.protocol.commands import CommandError, carry_out, read_command, refusal
from millstream.api.protocol.events import Wanted, telling
from millstream.api.protocol.schemas import EventStreamRequest
from millstream.api.threads import operations as threads
from millstream.shared.errors import InvalidError, RefusedError
from millstream.shared.events.entries import START
from millstream.shared.events.protocol import LAST_SEQ, position_of


async def commands(request: Request) -> Response:
    """`POST /threads/{thread_id}/commands`: Starts a run, answers an interrupt, or returns the graphs of a run.

    A command that can't be carried out is answered with 200 and an envelope of type `error`; 400 is for what is
    no command.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    value = await _json(request)
    try:
        command = read_command(value)
    except CommandError as error:
        given = value.get("id") if isinstance(value, dict) else None
        return json_response(refusal(given, error), 400)
    return json_response(await carry_out(context_of(request), thread_id, command))


async def events(request: Request) -> Response:
    """`POST /threads/{thread_id}/stream/events`: Streams the events of the thread's runs until the client leaves.

    All that is kept, or what comes after `since` (or `Last-Event-ID`), and then what is to come, in one order.
    The thread need not exist yet.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    try:
        asked = EventStreamRequest.model_validate(await _json(request))
    except ValidationError as error:
        raise RefusedError(sentence(error)) from None
    since = asked.since
    last = request.headers.get("last-event-id", "").strip()
    if since is None and last.isascii() and last.isdigit() and len(last) < 20:
        since = min(int(last), LAST_SEQ)
    context = context_of(request)
    after = START if since is None else position_of(since)
    translate = telling(Wanted(asked, START).has)
    reader, _ = await threads.follow(context, thread_id, translate, after)
    watch = threads.watch_of(context, thread_id, after)
    return ProtocolStream(reader, watch, headers={}, keepalive=context.settings.keepalive)


async def _json(request: Request) -> Any:
    try:
        return decode(await read_body(request))
    except InvalidError as error:
        raise RefusedError(f"Invalid JSON body: {error}") from None
