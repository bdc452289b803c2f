"""Calls the methods of A2A: JSON-RPC over HTTP, in the versions 1.0 and 0.3.

The response to each call is status 200, keepalives, and then a result or an error. The SDK's own dispatcher is not
used: it sends no keepalives, and logs tracebacks for invalid requests.
Source: a2a-protocol.org, "JSON-RPC Protocol Binding" and "Versioning"; jsonrpc.org.
"""

import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from a2a.compat.v0_3 import types as v03
from a2a.compat.v0_3.conversions import to_core_send_message_request
from a2a.compat.v0_3.request_handler import RequestHandler03
from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb
from a2a.utils.error_handlers import build_error_details
from a2a.utils.errors import (
    JSON_RPC_ERROR_CODE_MAP,
    A2AError,
    ContentTypeNotSupportedError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    JSONParseError,
    MethodNotFoundError,
    VersionNotSupportedError,
)
from a2a.utils.proto_utils import to_stream_response
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from millstream.api.a2a.card import HISTORY_SCOPE_HEADER, VERSIONS
from millstream.api.a2a.following import Call
from millstream.api.a2a.server import Agents
from millstream.api.a2a.tasks import Scope
from millstream.api.context import RequestContext
from millstream.api.http.body import MAX_RPC_VALUES, apart_if_large, parse
from millstream.api.http.keepalive import Head, KeepaliveResponse
from millstream.api.http.problems import sentence
from millstream.api.http.sse import KEEPALIVE, WHITE_SPACE
from millstream.shared.assistants import Resolved
from millstream.shared.errors import InvalidError
from millstream.shared.wire import to_json

log = logging.getLogger(__name__)

VERSION: Final = re.compile(r"(\d+\.\d+)(\.\d+)?")
METHODS: Final[dict[str, tuple[type[Message], str]]] = {  # of 1.0: parameters, handler
    "SendMessage": (pb.SendMessageRequest, "on_message_send"),
    "SendStreamingMessage": (pb.SendMessageRequest, "on_message_send_stream"),
    "GetTask": (pb.GetTaskRequest, "on_get_task"),
    "ListTasks": (pb.ListTasksRequest, "on_list_tasks"),
    "CancelTask": (pb.CancelTaskRequest, "on_cancel_task"),
    "SubscribeToTask": (pb.SubscribeToTaskRequest, "on_subscribe_to_task"),
    "CreateTaskPushNotificationConfig": (
        pb.TaskPushNotificationConfig,
        "on_create_task_push_notification_config",
    ),
    "GetTaskPushNotificationConfig": (
        pb.GetTaskPushNotificationConfigRequest,
        "on_get_task_push_notification_config",
    ),
    "ListTaskPushNotificationConfigs": (
        pb.ListTaskPushNotificationConfigsRequest,
        "on_list_task_push_notification_configs",
    ),
    "DeleteTaskPushNotificationConfig": (
        pb.DeleteTaskPushNotificationConfigRequest,
        "on_delete_task_push_notification_config",
    ),
    "GetExtendedAgentCard": (pb.GetExtendedAgentCardRequest, "on_get_extended_agent_card"),
}
LEGACY: Final[dict[str, tuple[type[BaseModel], str]]] = {  # of 0.3: request, handler
    "message/send": (v03.SendMessageRequest, "on_message_send"),
    "message/stream": (v03.SendStreamingMessageRequest, "on_message_send_stream"),
    "tasks/get": (v03.GetTaskRequest, "on_get_task"),
    "tasks/cancel": (v03.CancelTaskRequest, "on_cancel_task"),
    "tasks/resubscribe": (v03.TaskResubscriptionRequest, "on_subscribe_to_task"),
    "tasks/pushNotificationConfig/set": (
        v03.SetTaskPushNotificationConfigRequest,
        "on_create_task_push_notification_config",
    ),
    "tasks/pushNotificationConfig/get": (
        v03.GetTaskPushNotificationConfigRequest,
        "on_get_task_push_notification_config",
    ),
    "tasks/pushNotificationConfig/list": (
        v03.ListTaskPushNotificationConfigRequest,
        "on_list_task_push_notification_configs",
    ),
    "tasks/pushNotificationConfig/delete": (
        v03.DeleteTaskPushNotificationConfigRequest,
        "on_delete_task_push_notification_config",
    ),
    "agent/getAuthenticatedExtendedCard": (
        v03.GetAuthenticatedExtendedCardRequest,
        "on_get_extended_agent_card",
    ),
}
STREAMED: Final = frozenset({"on_message_send_stream", "on_subscribe_to_task"})
ADMITTING: Final = frozenset(
    {"on_message_send", "on_message_send_stream"}
)  # their responses name the run
LEGACY_CODES: Final = frozenset(range(-32007, -32000)) | {-32700, -32600, -32601, -32602, -32603}

FRAME: Final = b"data: %b\r\n\r\n"
AGENTS: Final = Agents()
LEGACY_AGENTS: Final = RequestHandler03(AGENTS)
Id = str | int | float | None


@dataclass(frozen=True, slots=True)
class _Request:
    """A valid request."""

    id: Id
    handler: str
    params: Any  # a message of the version
    legacy: bool
    scope: Scope


async def answer_call(
    context: RequestContext,
    resolved: Resolved,
    body: bytes,
    headers: Mapping[str, str],
    query: Mapping[str, str],
) -> Response:
    """Returns the response to a call of the agent, for every body one of JSON-RPC.

    `headers` and `query` are those of the request. Names of headers are in lower case.
    """
    if not _is_json(headers.get("content-type", "")):
        error = ContentTypeNotSupportedError(message="content-type: must be application/json")
        return _error_response(None, error)
    try:
        value = await parse(body, context.limits, min(context.settings.max_values, MAX_RPC_VALUES))
    except InvalidError as error:
        return _error_response(None, JSONParseError(message=str(error)))
    request_id = _id_of(value)
    try:
        request = await apart_if_large(len(body), _parse_request, headers, query, value, request_id)
    except A2AError as error:
        return _error_response(request_id, error, legacy=_is_legacy(value))
    head = Head(awaited=request.handler in ADMITTING)
    call = Call(context, resolved, head, request.legacy, request.scope)
    call_context = ServerCallContext(state={"call": call})
    if request.handler not in STREAMED:
        return _keepalive_response(
            context, head, _single_result(request, call_context), "application/json", WHITE_SPACE
        )
    events = _events(request, call_context)
    if request.legacy:
        return _keepalive_response(context, head, events, "text/event-stream", KEEPALIVE)
    # A call that fails before its first event gets a plain response, no stream.
    first = await anext(events)
    if first.error is not None:
        return _error_response(request_id, first.error)
    return _keepalive_response(
        context, head, _frames(first, events), "text/event-stream", KEEPALIVE
    )


def _is_json(content_type: str) -> bool:
    """Returns whether the type is JSON. Browsers send a CORS preflight before a body of that type."""
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind == "application/json" or kind.endswith("+json")


def _id_of(value: Any) -> Id:
    request_id = value.get("id") if isinstance(value, dict) else None
    is_id = isinstance(request_id, str | int | float) and not isinstance(request_id, bool)
    return request_id if is_id else None


def _is_legacy(value: Any) -> bool:
    method = value.get("method") if isinstance(value, dict) else None
    return isinstance(method, str) and method in LEGACY


def _parse_request(
    headers: Mapping[str, str], query: Mapping[str, str], value: Any, request_id: Id
) -> _Request:
    """Returns the request. Raises A2AError for an invalid one."""
    if not isinstance(value, dict):
        raise InvalidRequestError(message="A request is one object: batches are not supported.")
    if value.get("jsonrpc") != "2.0":
        raise InvalidRequestError(message="jsonrpc: must be '2.0'")
    if value.get("id") is not None and request_id is None:
        raise InvalidRequestError(message="id: must be a string or a number")
    method = value.get("method")
    if not isinstance(method, str) or not method:
        raise InvalidRequestError(message="method: must be the name of a method")
    legacy = _version(headers.get("a2a-version") or query.get("A2A-Version"), method) == "0.3"
    if method not in (LEGACY if legacy else METHODS):
        raise MethodNotFoundError(message=f"Unknown method {method!r}.")
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise InvalidParamsError(message="params: must be an object")
    scope = _scope(headers, params)
    if legacy:
        model, handler = LEGACY[method]
        try:
            parsed = model.model_validate({**value, "id": request_id or 0})
        except ValidationError as error:
            raise InvalidParamsError(message=sentence(error)) from None
        _check_convertible(parsed)
        return _Request(request_id, handler, parsed, legacy, scope)
    kind, handler = METHODS[method]
    try:
        message = ParseDict(_drop_unknown(params, kind.DESCRIPTOR), kind())
    except (ParseError, TypeError, ValueError, AttributeError) as error:
        raise InvalidParamsError(message=f"params: {error}") from None
    return _Request(request_id, handler, message, legacy, scope)


def _check_convertible(parsed: BaseModel) -> None:
    """Raises InvalidParamsError for a message of 0.3 that has no form in 1.0, such as bytes that are not base64."""
    if isinstance(params := getattr(parsed, "params", None), v03.MessageSendParams):
        try:
            to_core_send_message_request(v03.SendMessageRequest(id=0, params=params))
        except (ParseError, TypeError, ValueError) as error:
            raise InvalidParamsError(message=f"params.message: {error}") from None


def _version(header: str | None, method: str) -> str:
    """Returns the requested version. Without one, returns the version that has the method."""
    if not header:
        return "0.3" if method in LEGACY else "1.0"
    match = VERSION.fullmatch(header.strip())  # only major and minor count
    if match is None or match[1] not in VERSIONS:
        raise VersionNotSupportedError(
            message=f"A2A-Version: {header!r} is not supported; {', '.join(VERSIONS)} are"
        )
    return match[1]


def _scope(headers: Mapping[str, str], params: dict[str, Any]) -> Scope:
    configuration = params.get("configuration")
    within = configuration.get("historyScope") if isinstance(configuration, dict) else None
    scope = params.get("historyScope") or within or headers.get(HISTORY_SCOPE_HEADER)
    if scope in (None, "context"):
        return "context"
    if scope == "task":
        return "task"
    raise InvalidParamsError(message="historyScope: must be 'context' or 'task'")


def _drop_unknown(value: Any, kind: Descriptor) -> Any:
    """Returns the parameters without unknown fields, which newer clients may send."""
    if not isinstance(value, dict) or kind.full_name.startswith("google.protobuf."):
        return value
    fields: dict[str, FieldDescriptor] = {
        name: each for each in kind.fields for name in (each.name, each.json_name)
    }
    return {
        name: _drop_unknown_in(item, fields[name]) for name, item in value.items() if name in fields
    }


def _drop_unknown_in(value: Any, field: FieldDescriptor) -> Any:
    kind = field.message_type
    if kind is None or kind.GetOptions().map_entry:
        return value
    if isinstance(value, list):
        return [_drop_unknown(item, kind) for item in value]
    return _drop_unknown(value, kind)


def _keepalive_response(
    context: RequestContext,
    head: Head,
    messages: "AsyncGenerator[_Message, None]",
    media_type: str,
    keepalive_text: bytes,
) -> KeepaliveResponse:
    keepalive = context.settings.keepalive
    chunks = _bodies(messages)
    return KeepaliveResponse(
        chunks, head, media_type=media_type, keepalive_text=keepalive_text, keepalive=keepalive
    )


@dataclass(frozen=True, slots=True)
class _Message:
    """A part of the response's body. An error is the last one."""

    body: bytes
    error: A2AError | None = None


async def _bodies(messages: AsyncGenerator[_Message, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(messages):
        async for each in messages:
            yield each.body


async def _single_result(
    request: _Request, context: ServerCallContext
) -> AsyncGenerator[_Message, None]:
    """Yields the single result of a method."""
    try:
        yield _Message(to_json(_envelope(request.id, result=await _result(request, context))))
    except A2AError as error:
        yield _Message(_failure(request, error))
    except Exception:
        log.exception("A2A: %s failed", request.handler)
        yield _Message(_failure(request, InternalError()))


async def _result(request: _Request, context: ServerCallContext) -> Any:
    method = getattr(LEGACY_AGENTS if request.legacy else AGENTS, request.handler)
    result = await method(request.params, context)
    if request.legacy:
        return result and result.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(result, pb.ListTasksResponse):
        return _list_result(result, artifacts=request.params.include_artifacts)
    if request.handler == "on_message_send":
        result = pb.SendMessageResponse(task=result)
    return MessageToDict(result)


def _list_result(page: pb.ListTasksResponse, *, artifacts: bool) -> dict[str, Any]:
    """Returns a page of tasks with all required fields, and with artifacts only on request."""
    tasks = [MessageToDict(task) for task in page.tasks]
    for task in tasks:
        task["artifacts"] = task.get("artifacts", [])
        if not artifacts:
            del task["artifacts"]
    return {
        "tasks": tasks,
        "nextPageToken": page.next_page_token,
        "pageSize": page.page_size,
        "totalSize": page.total_size,
    }


async def _events(request: _Request, context: ServerCallContext) -> AsyncGenerator[_Message, None]:
    """Yields the events of a method that streams."""
    method = getattr(LEGACY_AGENTS if request.legacy else AGENTS, request.handler)
    try:
        async with aclosing(method(request.params, context)) as events:
            async for event in events:
                if request.legacy:
                    value = event.model_dump(mode="json", by_alias=True, exclude_none=True)
                    value["id"] = request.id
                else:
                    value = _envelope(request.id, result=MessageToDict(to_stream_response(event)))
                yield _Message(FRAME % to_json(value))
    except A2AError as error:
        yield _Message(FRAME % _failure(request, error), error)
    except Exception:
        log.exception("A2A: %s failed", request.handler)
        internal_error = InternalError()
        yield _Message(FRAME % _failure(request, internal_error), internal_error)


async def _frames(
    first: _Message, rest: AsyncGenerator[_Message, None]
) -> AsyncGenerator[_Message, None]:
    async with aclosing(rest):
        yield first
        async for each in rest:
            yield each


def _failure(request: _Request, error: A2AError) -> bytes:
    return to_json(_envelope(request.id, error=_error_object(error, legacy=request.legacy)))


def _error_response(request_id: Id, error: A2AError, *, legacy: bool = False) -> Response:
    body = to_json(_envelope(request_id, error=_error_object(error, legacy=legacy)))
    return Response(body, media_type="application/json")


def _envelope(request_id: Id, **fields: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, **fields}


def _error_object(error: A2AError, *, legacy: bool) -> dict[str, Any]:
    """Returns the error in the version's form. Codes that 0.3 lacks become internal errors there."""
    code = JSON_RPC_ERROR_CODE_MAP.get(type(error), -32603)
    if legacy:
        return {"code": code if code in LEGACY_CODES else -32603, "message": error.message}
    return {"code": code, "message": error.message, "data": build_error_details(error)}
