"""MCP over stateless streamable HTTP: every assistant is a tool, and a call of it is a run.

The protocol is the official SDK's; here is what its tools are. Imported with the first request alone.
Source: modelcontextprotocol.io; the LangGraph Platform API for the path and the refused methods.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

import mcp_types as types
import msgspec
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from starlette.types import Receive, Scope, Send

from millstream.api.assistants import graph_operations
from millstream.api.assistants import operations as assistants
from millstream.api.context import RequestContext
from millstream.api.graph_schemas import GraphSchemas
from millstream.api.http.context import context_of
from millstream.api.mcp.schemas import ToolSchemas
from millstream.api.outages import unavailable_errors
from millstream.api.runs import operations as runs
from millstream.api.runs.follow import (
    entries_of,
    invoke,
    read_when_reachable,
)
from millstream.api.runs.operations import Followed
from millstream.api.version import VERSION
from millstream.shared.assistants.records import AssistantRecord
from millstream.shared.errors import InvalidError, MillstreamError, UnavailableError
from millstream.shared.redis import OUTAGE_ERRORS
from millstream.shared.rules.multitask import CancelReason
from millstream.shared.wire import RunOptions, RunRequest, to_json

logging.getLogger("mcp.server.streamable_http").setLevel(logging.WARNING)  # it logs each request

PAGE: Final = 100  # tools
NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")  # what the name of a tool may not have
LONGEST_NAME: Final = 64
UNKNOWN: Final = ToolSchemas({}, {})
PAUSED: Final = (
    "The agent paused, for it asks a person. A call of a tool keeps nothing that could go on, so it can't be "
    "answered here: ask the agent by A2A or on a thread of the API, where an answer resumes it. It asks:"
)
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
_made: WeakKeyDictionary[GraphSchemas, ToolSchemas] = WeakKeyDictionary()
McpContext = Any  # ServerRequestContext[None, starlette.requests.Request]


def named(records: list[AssistantRecord]) -> dict[str, AssistantRecord]:
    """Returns the assistants by the names of their tools.

    It is the assistant's own name as far as tools may have it; of several of one name, the oldest has it, and
    the id tells the others apart.
    """
    found: dict[str, AssistantRecord] = {}
    for record in sorted(records, key=lambda each: (each.created_at, each.assistant.assistant_id)):
        name = NAME.sub("_", record.assistant.name).strip("_")[:LONGEST_NAME]
        if not name or name in found:
            name = f"{name or 'assistant'}-{record.assistant.assistant_id}"
        found[name] = record
    return found


async def _tools(context: RequestContext) -> dict[str, AssistantRecord]:
    return named(await assistants.find(context, metadata={}))


async def list_tools(
    ctx: McpContext, params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    """`tools/list`: the assistants whose graphs some worker serves."""
    context = context_of(ctx.request)
    cursor = (params and params.cursor) or "0"
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise MCPError(INVALID_PARAMS, "cursor: it is none of this server's")
    with _told(context):
        tools = list((await _tools(context)).items())
        page = tools[int(cursor) : int(cursor) + PAGE]
        shown = await asyncio.gather(*(_tool(context, name, record) for name, record in page))
    after = int(cursor) + PAGE
    return types.ListToolsResult(
        tools=[tool for tool in shown if tool is not None],
        next_cursor=str(after) if after < len(tools) else None,
    )


async def _tool(context: RequestContext, name: str, record: AssistantRecord) -> types.Tool | None:
    assistant = record.assistant
    try:
        schemas = await _schemas(context, assistant.assistant_id)
    except UnavailableError:  # nobody could carry out a call of it either
        return None
    except MillstreamError:  # a graph that can't say what it takes may take it all the same
        schemas = UNKNOWN
    description = assistant.description or f"Runs the agent {assistant.name!r}."
    return types.Tool(
        name=name,
        title=assistant.name if assistant.name != name else None,
        description=description,
        input_schema=schemas.input,
        output_schema=schemas.output,
    )


async def _schemas(context: RequestContext, assistant_id: str) -> ToolSchemas:
    """Returns what the assistant's tool takes and answers; raises what `graph_operations.schemas_of` raises."""
    resolved = await assistants.resolve(context, assistant_id)
    schemas = await graph_operations.schemas_of(context, resolved)
    made = _made.get(schemas)
    if made is None:
        made = _made[schemas] = ToolSchemas(schemas.input, schemas.output)
    return made


class ToolCall(types.CallToolRequestParams):
    """The parameters of `tools/call`, with the run's context as the LangGraph Platform API has it."""

    context: dict[str, Any] | None = None


async def call_tool(ctx: McpContext, params: ToolCall) -> types.CallToolResult:
    """`tools/call`: a run on a thread of its own, and the state in which it ends.

    The nodes that have ended are told as progress, to clients that ask for it. When the client leaves, the run is
    cancelled.
    """
    context = context_of(ctx.request)
    arguments = params.arguments or {}
    with _told(context):
        record = (await _tools(context)).get(params.name)
        if record is None:
            raise InvalidError(f"name: there is no tool {params.name!r}")
        assistant_id = record.assistant.assistant_id
        arguments = await _checked(context, assistant_id, arguments)
        asked = RunRequest(
            assistant_id=assistant_id,
            input=arguments,
            context=params.context or {},
            options=RunOptions(stream_mode=["updates"]),
            creates_thread=True,
            temporary=True,
        )
        async with invoke(context, asked) as run:
            try:
                output = await _output(ctx, context, run)
            except asyncio.CancelledError:
                with suppress(*OUTAGE_ERRORS):
                    await asyncio.shield(
                        runs.request_cancel(
                            context, run.thread_id, run.run_id, reason=CancelReason.DISCONNECT
                        )
                    )
                raise
    return _result(output)


async def _checked(
    context: RequestContext, assistant_id: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Returns the arguments as the graph takes them; what it takes may not be known now.

    Raises InvalidError for arguments that it does not take.
    """
    try:
        schemas = await _schemas(context, assistant_id)
    except MillstreamError:
        return arguments
    return schemas.checked(arguments)


def _result(output: bytes) -> types.CallToolResult:
    """Returns how a run ended: its state, or as an error why it failed, or what it paused to ask."""
    values = msgspec.json.decode(output)
    told = values if isinstance(values, dict) else {"result": values}
    texts = [output.decode()]
    if error := told.get("__error__"):
        texts = [f"{error.get('error', 'Error')}: {error.get('message', '')}"]
    elif questions := told.get("__interrupt__"):
        asked = [each.get("value") for each in questions]
        texts = [
            PAUSED,
            *(each if isinstance(each, str) else to_json(each).decode() for each in asked),
        ]
    return types.CallToolResult(
        content=[types.TextContent(text=text) for text in texts],
        structured_content=told,
        is_error="__error__" in told or bool(told.get("__interrupt__")),
    )


async def _output(ctx: McpContext, context: RequestContext, run: Followed) -> bytes:
    ended, last = 0, None
    async for entry in entries_of(run):
        last = entry
        if entry.event == b"updates":
            ended += 1
            nodes = ", ".join(msgspec.json.decode(entry.data, type=dict[str, msgspec.Raw]))
            await ctx.session.report_progress(ended, message=nodes)
    return await read_when_reachable(
        lambda: runs.final_output(context, run.thread_id, run.run_id, last)
    )


@contextmanager
def _told(context: RequestContext) -> Iterator[None]:
    """Turns what this server refuses, inside of the block, into errors of the protocol."""
    try:
        with unavailable_errors(context):
            yield
    except InvalidError as error:
        raise MCPError(INVALID_PARAMS, str(error)) from None
    except MillstreamError as error:
        raise MCPError(INTERNAL_ERROR, str(error)) from None


def _no_headers(_: str) -> None:
    """No argument of a tool comes as a header."""


class McpServer:
    """The SDK's server, for as long as `running`."""

    def __init__(self, max_body: int) -> None:
        """Takes requests of at most `max_body` bytes."""
        server: Server[Any] = Server(
            "millstream",
            version=VERSION,
            on_list_tools=list_tools,
            get_tool_input_schema=_no_headers,  # else all tools are listed for each call
        )
        server.add_request_handler("tools/call", ToolCall, call_tool)
        self._manager = StreamableHTTPSessionManager(
            server, stateless=True, max_request_body_size=max_body
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["McpServer"]:
        """Serves inside of the block, which must be left by the task that entered it."""
        async with self._manager.run():
            yield self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a POST."""
        await self._manager.handle_request(scope, receive, send)
