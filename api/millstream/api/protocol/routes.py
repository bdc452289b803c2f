"""The routes of the event streaming protocol: commands, and the events of a thread. Source: langchain_protocol."""

from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import json_response, path_uuid, read_json
from millstream.api.http.context import context_of
from millstream.api.http.problems import sentence
from millstream.api.http.sse import ProtocolStream
from millstream.api.protocol.commands import CommandError, error_reply, execute, read_command
from millstream.api.protocol.events import EventMatcher, protocol_translator
from millstream.api.protocol.schemas import EventStreamRequest
from millstream.api.threads import operations as threads
from millstream.shared.errors import InvalidError, RefusedError
from millstream.shared.events.entries import START
from millstream.shared.events.protocol import LAST_SEQ, position_of


async def commands(request: Request) -> Response:
    """`POST /threads/{thread_id}/commands`: Starts a run, answers an interrupt, or returns the graphs of a run.

    The response to a command that fails is 200 with an envelope of type `error`; 400 is for an invalid envelope.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    value = await _json(request)
    try:
        command = read_command(value)
    except CommandError as error:
        command_id = value.get("id") if isinstance(value, dict) else None
        return json_response(error_reply(command_id, error), 400)
    return json_response(await execute(context_of(request), thread_id, command))


async def events(request: Request) -> Response:
    """`POST /threads/{thread_id}/stream/events`: Streams the events of the thread's runs until the client leaves.

    Sends the stored events, all or those after `since` (or `Last-Event-ID`), and then the new ones, in one order.
    The thread need not exist yet.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    try:
        query = EventStreamRequest.model_validate(await _json(request))
    except ValidationError as error:
        raise RefusedError(sentence(error)) from None
    since = query.since
    last = request.headers.get("last-event-id", "").strip()
    if since is None and last.isascii() and last.isdigit() and len(last) < 20:
        since = min(int(last), LAST_SEQ)
    context = context_of(request)
    after = START if since is None else position_of(since)
    translate = protocol_translator(EventMatcher(query, START).matches)
    reader, _ = await threads.follow(context, thread_id, translate, after)
    watch = threads.watch_of(context, thread_id, after)
    return ProtocolStream(reader, watch, headers={}, keepalive=context.settings.keepalive)


async def _json(request: Request) -> Any:
    try:
        return await read_json(request)
    except InvalidError as error:
        raise RefusedError(f"Invalid JSON body: {error}") from None
