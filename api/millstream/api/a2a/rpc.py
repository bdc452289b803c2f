"""How the methods of A2A are called: JSON-RPC over HTTP, in the forms of the versions 1.0 and 0.3.

Every call is answered by status 200 and keepalives until its result, or its error, is there. The SDK's own
dispatcher is not used: it is silent meanwhile, and writes tracebacks for what clients do wrong.
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
from millstream.api.http.body import decode
from millstream.api.http.keepalive import Head, KeptAlive
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
ADMITTING: Final = frozenset({"on_message_send", "on_message_send_stream"})  # they tell the run
LEGACY_CODES: Final = frozenset(range(-32007, -32000)) | {-32700, -32600, -32601, -32602, -32603}

FRAME: Final = b"data: %b\r\n\r\n"
AGENTS: Final = Agents()
LEGACY_AGENTS: Final = RequestHandler03(AGENTS)
Id = str | int | float | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A well-formed request."""

    id: Id
    handler: str
    params: Any  # a message of the version
    legacy: bool
    scope: Scope


async def answer(
    context: RequestContext,
    resolved: Resolved,
    body: bytes,
    headers: Mapping[str, str],
    query: Mapping[str, str],
) -> Response:
    """Returns the answer to a call of the agent; whatever the body is, it is one of JSON-RPC.

    `headers` and `query` are those of the request; names of headers are in lower case.
    """
    if not _is_json(headers.get("content-type", "")):
        unknown = ContentTypeNotSupportedError(message="content-type: must be application/json")
        return _refusal(None, unknown)
    try:
        value = decode(body)
    except InvalidError as error:
        return _refusal(None, JSONParseError(message=str(error)))
    request_id = _id_of(value)
    try:
        asked = _asked(headers, query, value, request_id)
    except A2AError as error:
        return _refusal(request_id, error, legacy=_is_legacy(value))
    head = Head(awaited=asked.handler in ADMITTING)
    call = Call(context, resolved, head, asked.legacy, asked.scope)
    call_context = ServerCallContext(state={"call": call})
    if asked.handler not in STREAMED:
        return _kept(context, head, _one(asked, call_context), "application/json", WHITE_SPACE)
    events = _events(asked, call_context)
    if asked.legacy:
        return _kept(context, head, events, "text/event-stream", KEEPALIVE)
    # What is refused before anything was told is no stream.
    first = await anext(events)
    if first.error is not None:
        return _refusal(request_id, first.error)
    return _kept(context, head, _frames(first, events), "text/event-stream", KEEPALIVE)


def _is_json(content_type: str) -> bool:
    """Returns whether a body may be read; browsers ask first before they send one that names JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind == "application/json" or kind.endswith("+json")


def _id_of(value: Any) -> Id:
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str | int | float) and not isinstance(found, bool) else None


def _is_legacy(value: Any) -> bool:
    method = value.get("method") if isinstance(value, dict) else None
    return isinstance(method, str) and method in LEGACY


def _asked(
    headers: Mapping[str, str], query: Mapping[str, str], value: Any, request_id: Id
) -> _Asked:
    """Returns what is asked for; raises A2AError that says what is wrong with it."""
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
        raise MethodNotFoundError(message=f"There is no method {method!r}.")
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
        return _Asked(request_id, handler, parsed, legacy, scope)
    kind, handler = METHODS[method]
    try:
        message = ParseDict(_known(params, kind.DESCRIPTOR), kind())
    except (ParseError, TypeError, ValueError, AttributeError) as error:
        raise InvalidParamsError(message=f"params: {error}") from None
    return _Asked(request_id, handler, message, legacy, scope)


def _check_convertible(parsed: BaseModel) -> None:
    """Raises InvalidParamsError for a message of 0.3 that could not be one of 1.0, as for bytes that are no base64."""
    if isinstance(params := getattr(parsed, "params", None), v03.MessageSendParams):
        try:
            to_core_send_message_request(v03.SendMessageRequest(id=0, params=params))
        except (ParseError, TypeError, ValueError) as error:
            raise InvalidParamsError(message=f"params.message: {error}") from None


def _version(told: str | None, method: str) -> str:
    """Returns the version that is asked for; without a word of it, the one that has the method."""
    if not told:
        return "0.3" if method in LEGACY else "1.0"
    match = VERSION.fullmatch(told.strip())  # what follows major and minor does not count
    if match is None or match[1] not in VERSIONS:
        raise VersionNotSupportedError(
            message=f"A2A-Version: {told!r} is not supported; {', '.join(VERSIONS)} are"
        )
    return match[1]


def _scope(headers: Mapping[str, str], params: dict[str, Any]) -> Scope:
    configuration = params.get("configuration")
    within = configuration.get("historyScope") if isinstance(configuration, dict) else None
    told = params.get("historyScope") or within or headers.get(HISTORY_SCOPE_HEADER)
    if told in (None, "context"):
        return "context"
    if told == "task":
        return "task"
    raise InvalidParamsError(message="historyScope: must be 'context' or 'task'")


def _known(value: Any, kind: Descriptor) -> Any:
    """Returns the parameters without fields that the version does not have: clients may run ahead."""
    if not isinstance(value, dict) or kind.full_name.startswith("google.protobuf."):
        return value
    fields: dict[str, FieldDescriptor] = {
        name: each for each in kind.fields for name in (each.name, each.json_name)
    }
    return {
        name: _known_items(item, fields[name]) for name, item in value.items() if name in fields
    }


def _known_items(value: Any, field: FieldDescriptor) -> Any:
    kind = field.message_type
    if kind is None or kind.GetOptions().map_entry:
        return value
    if isinstance(value, list):
        return [_known(item, kind) for item in value]
    return _known(value, kind)


def _kept(
    context: RequestContext,
    head: Head,
    said: "AsyncGenerator[_Said, None]",
    media_type: str,
    beat: bytes,
) -> KeptAlive:
    keepalive = context.settings.keepalive
    chunks = _bytes(said)
    return KeptAlive(chunks, head, media_type=media_type, keepalive_text=beat, keepalive=keepalive)


@dataclass(frozen=True, slots=True)
class _Said:
    """Something that the client is told; an error is the last thing."""

    body: bytes
    error: A2AError | None = None


async def _bytes(said: AsyncGenerator[_Said, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(said):
        async for each in said:
            yield each.body


async def _one(asked: _Asked, context: ServerCallContext) -> AsyncGenerator[_Said, None]:
    """The answer of a method that gives one."""
    try:
        yield _Said(to_json(_envelope(asked.id, result=await _result(asked, context))))
    except A2AError as error:
        yield _Said(_failure(asked, error))
    except Exception:
        log.exception("A2A: %s failed", asked.handler)
        yield _Said(_failure(asked, InternalError()))


async def _result(asked: _Asked, context: ServerCallContext) -> Any:
    method = getattr(LEGACY_AGENTS if asked.legacy else AGENTS, asked.handler)
    found = await method(asked.params, context)
    if asked.legacy:
        return found and found.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(found, pb.ListTasksResponse):
        return _listed(found, artifacts=asked.params.include_artifacts)
    if asked.handler == "on_message_send":
        found = pb.SendMessageResponse(task=found)
    return MessageToDict(found)


def _listed(found: pb.ListTasksResponse, *, artifacts: bool) -> dict[str, Any]:
    """Returns a page of tasks with the fields that it must have, and those that it may not have."""
    tasks = [MessageToDict(task) for task in found.tasks]
    for task in tasks:
        task["artifacts"] = task.get("artifacts", [])
        if not artifacts:
            del task["artifacts"]
    return {
        "tasks": tasks,
        "nextPageToken": found.next_page_token,
        "pageSize": found.page_size,
        "totalSize": found.total_size,
    }


async def _events(asked: _Asked, context: ServerCallContext) -> AsyncGenerator[_Said, None]:
    """What a method tells that tells several things: events of a stream."""
    method = getattr(LEGACY_AGENTS if asked.legacy else AGENTS, asked.handler)
    try:
        async with aclosing(method(asked.params, context)) as events:
            async for event in events:
                if asked.legacy:
                    value = event.model_dump(mode="json", by_alias=True, exclude_none=True)
                    value["id"] = asked.id
                else:
                    value = _envelope(asked.id, result=MessageToDict(to_stream_response(event)))
                yield _Said(FRAME % to_json(value))
    except A2AError as error:
        yield _Said(FRAME % _failure(asked, error), error)
    except Exception:
        log.exception("A2A: %s failed", asked.handler)
        unforeseen = InternalError()
        yield _Said(FRAME % _failure(asked, unforeseen), unforeseen)


async def _frames(first: _Said, rest: AsyncGenerator[_Said, None]) -> AsyncGenerator[_Said, None]:
    async with aclosing(rest):
        yield first
        async for each in rest:
            yield each


def _failure(asked: _Asked, error: A2AError) -> bytes:
    return to_json(_envelope(asked.id, error=_told(error, legacy=asked.legacy)))


def _refusal(request_id: Id, error: A2AError, *, legacy: bool = False) -> Response:
    body = to_json(_envelope(request_id, error=_told(error, legacy=legacy)))
    return Response(body, media_type="application/json")


def _envelope(request_id: Id, **said: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, **said}


def _told(error: A2AError, *, legacy: bool) -> dict[str, Any]:
    """Returns an error as the version has it: codes that 0.3 does not know are internal errors there."""
    code = JSON_RPC_ERROR_CODE_MAP.get(type(error), -32603)
    if legacy:
        return {"code": code if code in LEGACY_CODES else -32603, "message": error.message}
    return {"code": code, "message": error.message, "data": build_error_details(error)}
