"""MCP over stateless streamable HTTP. Each assistant is a tool, and each call of a tool is a run.

The official SDK implements the protocol; this module implements the tools. The first request imports it.
Source: modelcontextprotocol.io; the LangGraph Platform API for the path and the unsupported methods.
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
from millstream.api.runs import end_operations
from millstream.api.runs import operations as runs
from millstream.api.runs.follow import (
    entries_of,
    invoke,
    read_when_reachable,
)
from millstream.api.runs.operations import FollowedRun
from millstream.api.version import VERSION
from millstream.shared.assistants.records import AssistantRecord
from millstream.shared.errors import (
    AccessError,
    InvalidError,
    MillstreamError,
    NotFoundError,
    UnavailableError,
)
from millstream.shared.redis import OUTAGE_ERRORS
from millstream.shared.rules.multitask import CancelReason
from millstream.shared.wire import RunOptions, RunRequest, to_json

logging.getLogger("mcp.server.streamable_http").setLevel(logging.WARNING)  # it logs each request

PAGE_SIZE: Final = 100  # tools
INVALID_NAME_PART: Final = re.compile(r"[^A-Za-z0-9_.-]+")
MAX_NAME_CHARS: Final = 64
UNKNOWN: Final = ToolSchemas({}, {})
PAUSED: Final = (
    "The agent paused, because it asks a person. A tool call keeps no thread that could be resumed, so the question "
    "can't be answered here. Call the agent by A2A or on a thread of the API, where an answer resumes it. It asks:"
)
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
_tool_schemas: WeakKeyDictionary[GraphSchemas, ToolSchemas] = WeakKeyDictionary()
McpContext = Any  # ServerRequestContext[None, starlette.requests.Request]


def tools_by_name(records: list[AssistantRecord]) -> dict[str, AssistantRecord]:
    """Returns the assistants by the names of their tools.

    A tool has its assistant's name, with `_` for each part that is invalid in the name of a tool. If several
    assistants have one name, the oldest one gets it, and the others get the assistant's id appended.
    """
    tools: dict[str, AssistantRecord] = {}
    for record in sorted(records, key=lambda each: (each.created_at, each.assistant.assistant_id)):
        name = INVALID_NAME_PART.sub("_", record.assistant.name).strip("_")[:MAX_NAME_CHARS]
        if not name or name in tools:
            name = f"{name or 'assistant'}-{record.assistant.assistant_id}"
        tools[name] = record
    return tools


async def _tools(context: RequestContext) -> dict[str, AssistantRecord]:
    return tools_by_name(await assistants.find(context, metadata={}))


async def list_tools(
    ctx: McpContext, params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    """`tools/list`: Returns a page of the assistants whose graphs a worker serves."""
    context = context_of(ctx.request)
    cursor = (params and params.cursor) or "0"
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise MCPError(INVALID_PARAMS, "cursor: invalid; use the nextCursor of an earlier page")
    with _protocol_errors(context):
        tools = list((await _tools(context)).items())
        page = tools[int(cursor) : int(cursor) + PAGE_SIZE]
        page_tools = await asyncio.gather(*(_tool(context, name, record) for name, record in page))
    after = int(cursor) + PAGE_SIZE
    return types.ListToolsResult(
        tools=[tool for tool in page_tools if tool is not None],
        next_cursor=str(after) if after < len(tools) else None,
    )


async def _tool(context: RequestContext, name: str, record: AssistantRecord) -> types.Tool | None:
    assistant = record.assistant
    try:
        schemas = await _schemas(context, assistant.assistant_id)
    except (UnavailableError, NotFoundError, AccessError):
        return None  # no worker could execute a call of the tool, or the caller may not
    except MillstreamError:  # a graph without schemas may still accept a call
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
    """Returns the schemas of the assistant's tool. Raises what `graph_operations.schemas_of` raises."""
    resolved = await assistants.resolve(context, assistant_id)
    schemas = await graph_operations.schemas_of(context, resolved)
    tool_schemas = _tool_schemas.get(schemas)
    if tool_schemas is None:
        tool_schemas = _tool_schemas[schemas] = ToolSchemas(schemas.input, schemas.output)
    return tool_schemas


class ToolCall(types.CallToolRequestParams):
    """The parameters of `tools/call`, with the run's `context` from the LangGraph Platform API."""

    context: dict[str, Any] | None = None


async def call_tool(ctx: McpContext, params: ToolCall) -> types.CallToolResult:
    """`tools/call`: Executes a run on a new thread, and returns its final state.

    Reports each node that has ended as progress, to clients that request it. If the client leaves, the run is
    cancelled.
    """
    context = context_of(ctx.request)
    arguments = params.arguments or {}
    with _protocol_errors(context):
        record = (await _tools(context)).get(params.name)
        if record is None:
            raise InvalidError(f"name: unknown tool {params.name!r}")
        assistant_id = record.assistant.assistant_id
        arguments = await _check(context, assistant_id, arguments)
        request = RunRequest(
            assistant_id=assistant_id,
            input=arguments,
            context=params.context or {},
            options=RunOptions(stream_mode=["updates"]),
            creates_thread=True,
            temporary=True,
        )
        async with invoke(context, request) as run:
            try:
                output = await _output(ctx, context, run)
            except asyncio.CancelledError:
                with suppress(*OUTAGE_ERRORS):
                    await asyncio.shield(
                        end_operations.request_cancel(
                            run.permit, run.thread_id, run.run_id, reason=CancelReason.DISCONNECT
                        )
                    )
                raise
    return _result(output)


async def _check(
    context: RequestContext, assistant_id: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Returns the arguments after a check, or unchecked if the graph's schemas are unknown now.

    Raises InvalidError for invalid arguments.
    """
    try:
        schemas = await _schemas(context, assistant_id)
    except MillstreamError:
        return arguments
    return schemas.check(arguments)


def _result(output: bytes) -> types.CallToolResult:
    """Returns the result of a run: its state, or as an error its failure or its questions."""
    values = msgspec.json.decode(output)
    state = values if isinstance(values, dict) else {"result": values}
    texts = [output.decode()]
    if error := state.get("__error__"):
        texts = [f"{error.get('error', 'Error')}: {error.get('message', '')}"]
    elif questions := state.get("__interrupt__"):
        question_values = [each.get("value") for each in questions]
        texts = [
            PAUSED,
            *(
                each if isinstance(each, str) else to_json(each).decode()
                for each in question_values
            ),
        ]
    return types.CallToolResult(
        content=[types.TextContent(text=text) for text in texts],
        structured_content=state,
        is_error="__error__" in state or bool(state.get("__interrupt__")),
    )


async def _output(ctx: McpContext, context: RequestContext, run: FollowedRun) -> bytes:
    ended_nodes, last = 0, None
    async for entry in entries_of(run):
        last = entry
        if entry.event == b"updates":
            ended_nodes += 1
            nodes = ", ".join(msgspec.json.decode(entry.data, type=dict[str, msgspec.Raw]))
            await ctx.session.report_progress(ended_nodes, message=nodes)
    return await read_when_reachable(lambda: runs.final_output(run, last))


@contextmanager
def _protocol_errors(context: RequestContext) -> Iterator[None]:
    """Converts errors inside of the block to errors of the protocol."""
    try:
        with unavailable_errors(context):
            yield
    except InvalidError as error:
        raise MCPError(INVALID_PARAMS, str(error)) from None
    except MillstreamError as error:
        raise MCPError(INTERNAL_ERROR, str(error)) from None


def _no_headers(_: str) -> None:
    """Returns None: tools take no argument from a header."""


class McpServer:
    """The SDK's server. It serves inside of `serve()`."""

    def __init__(self, max_body: int) -> None:
        """Accepts requests of at most `max_body` bytes."""
        server: Server[Any] = Server(
            "millstream",
            version=VERSION,
            on_list_tools=list_tools,
            get_tool_input_schema=_no_headers,  # without it, the SDK lists all tools for each call
        )
        server.add_request_handler("tools/call", ToolCall, call_tool)
        self._manager = StreamableHTTPSessionManager(
            server, stateless=True, max_request_body_size=max_body
        )

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["McpServer"]:
        """Serves inside of the block. The task that enters the block must also leave it."""
        async with self._manager.run():
            yield self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Responds to a POST."""
        await self._manager.handle_request(scope, receive, send)
