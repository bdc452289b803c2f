"""A2A: every assistant with `messages` is an agent, a thread is a context, and a task is a run that answers.

The protocol, in its versions 1.0 and 0.3, is the official SDK's; here is what its methods do. A task goes on when
its client leaves: it comes back by the task's id. Imported with the first request alone.
Source: a2a-protocol.org; the LangGraph Platform API for the path.
"""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import (
    ExtendedAgentCardNotConfiguredError,
    InternalError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from starlette.requests import Request

from millstream.api import a2a_tasks
from millstream.api.a2a_tasks import TASK, TaskId
from millstream.api.body import canonical_uuid
from millstream.api.invocation import (
    Invocation,
    config_of,
    entries_of,
    input_schema,
    invoked,
)
from millstream.api.runs import end_run
from millstream.shared import runs, threads
from millstream.shared.assistants import Resolved
from millstream.shared.entries import Entry
from millstream.shared.errors import (
    ConflictError,
    InvalidError,
    MillstreamError,
    NotFoundError,
)
from millstream.shared.lifecycle import TERMINAL
from millstream.shared.redis import AWAY
from millstream.shared.runs import RunRecord
from millstream.shared.stream import Reader
from millstream.shared.wire import RunRequest

VERSIONS: Final = ("1.0", "0.3")
MODES: Final = ["text/plain", "application/json"]
Event = pb.Task | pb.Message | pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent


class ContextBuilder(DefaultServerCallContextBuilder):
    """Hands the request, and the assistant in its path, to the methods."""

    def build(self, request: Request) -> ServerCallContext:
        """Returns the context of one call."""
        context = super().build(request)
        context.state["request"] = request
        return context


@contextmanager
def _told() -> Iterator[None]:
    """Turns what this server refuses, inside of the block, into errors of the protocol."""
    try:
        yield
    except NotFoundError as error:
        raise TaskNotFoundError(message=str(error)) from None
    except InvalidError as error:
        raise InvalidParamsError(message=str(error)) from None
    except ConflictError as error:
        raise UnsupportedOperationError(message=str(error)) from None
    except MillstreamError as error:
        raise InternalError(message=str(error)) from None
    except AWAY:
        raise InternalError(message="Redis is not reachable. Try again shortly.") from None


@dataclass(slots=True)
class _Telling:
    """What a client was told of a run, so that the next entry is told as it should be."""

    task: TaskId
    begun: set[str] = field(default_factory=set)  # ids of messages of which the client has a part

    def of(self, entry: Entry) -> Iterator[Event]:
        """Yields the events of an entry, apart from the end."""
        ids: Any = {"task_id": str(self.task), "context_id": self.task.thread_id}
        if entry.event == b"metadata":
            self.begun.clear()  # a later attempt says what it says anew
            state = a2a_tasks.status(pb.TASK_STATE_WORKING, self.task)
            yield pb.TaskStatusUpdateEvent(**ids, status=state)
        elif entry.event == b"messages":
            told = msgspec.json.decode(entry.data)[0]
            text = a2a_tasks.text_of(told)
            if told.get("type") not in ("ai", "AIMessageChunk") or not text:
                return
            message_id = str(told.get("id"))
            yield pb.TaskArtifactUpdateEvent(
                **ids,
                artifact=a2a_tasks.artifact(message_id, text),
                append=message_id in self.begun,
                last_chunk=told["type"] == "ai",
            )
            self.begun.add(message_id)

    def ended(self, task: pb.Task) -> Iterator[Event]:
        """Yields how it ended, after what the client was not told yet of the answer."""
        ids: Any = {"task_id": str(self.task), "context_id": self.task.thread_id}
        for artifact in task.artifacts:
            if artifact.artifact_id not in self.begun:
                yield pb.TaskArtifactUpdateEvent(**ids, artifact=artifact, last_chunk=True)
        yield pb.TaskStatusUpdateEvent(**ids, status=task.status)


class Agents(RequestHandler):
    """The methods of the protocol."""

    @validate_request_params
    async def on_message_send(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> pb.Task:
        """Sends a message; the task as it is when the run has ended, or at once if that is asked for."""
        request: Request = context.state["request"]
        with _told():
            async with _sent(request, params) as (task, run):
                if not params.configuration.return_immediately:
                    async for _ in run.entries():
                        pass
            return await _now(request, task, _history(params.configuration))

    @validate_request_params
    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Sends a message; the task, and then what becomes of it."""
        request: Request = context.state["request"]
        with _told():
            async with (
                _sent(request, params) as (task, run),
                aclosing(_tell(request, task, run.reader)) as events,
            ):
                async for event in events:
                    yield event

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """The task, and what becomes of it from now on."""
        request: Request = context.state["request"]
        with _told():
            task, record = await _found(request, params.id)
            if record.status in TERMINAL:
                raise UnsupportedOperationError(message="The task has ended, or waits for input.")
            hub = request.app.state.hub
            reader = await hub.open(task.thread_id, record.spec.run_id, None)
            with closing(reader):
                async with aclosing(_tell(request, task, reader)) as events:
                    async for event in events:
                        yield event

    @validate_request_params
    async def on_get_task(
        self, params: pb.GetTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        """The task as it is now."""
        request: Request = context.state["request"]
        with _told():
            task, record = await _found(request, params.id)
            return await a2a_tasks.shown(request, task, record, _history(params))

    @validate_request_params
    async def on_cancel_task(
        self, params: pb.CancelTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        """Cancels the task's run, and returns when it has ended."""
        request: Request = context.state["request"]
        with _told():
            task, record = await _found(request, params.id)
            if record.status in TERMINAL:
                raise TaskNotCancelableError(message="No run of the task is under way.")
            await end_run(request, task.thread_id, record.spec.run_id)
            return await _now(request, task, None)

    async def on_list_tasks(
        self, params: pb.ListTasksRequest, context: ServerCallContext
    ) -> pb.ListTasksResponse:
        """The tasks of a context, newest first."""
        request: Request = context.state["request"]
        resolved: Resolved = request.state.resolved
        thread_id = canonical_uuid(params.context_id)
        if thread_id is None:
            raise InvalidParamsError(message="contextId: tasks are listed by their context, a UUID")
        size = params.page_size if params.HasField("page_size") else 50
        if not (1 <= size <= 100 and (params.page_token or "0").isdigit()):
            raise InvalidParamsError(message="pageSize: 1 to 100; pageToken: as it was answered")
        offset = int(params.page_token or "0")
        with _told():
            records = await runs.list_runs(
                request.app.state.redis, thread_id, limit=a2a_tasks.RUNS, offset=0, status=None
            )
            newest: dict[TaskId, RunRecord] = {}
            for record in records:
                if record.spec.assistant_id == resolved.assistant.assistant_id:
                    newest.setdefault(a2a_tasks.task_of(record), record)
            history = params.history_length if params.HasField("history_length") else 0
            shown = [
                await a2a_tasks.shown(request, task, record, history)
                for task, record in newest.items()
            ]
        fitting = [each for each in shown if params.status in (0, each.status.state)]
        page = fitting[offset : offset + size]
        more = offset + size < len(fitting)
        return pb.ListTasksResponse(
            tasks=page,
            next_page_token=str(offset + size) if more else "",
            page_size=size,
            total_size=len(fitting),
        )

    async def on_create_task_push_notification_config(
        self, params: Any, context: ServerCallContext
    ) -> Any:
        """Not supported: runs have webhooks."""
        raise PushNotificationNotSupportedError

    on_get_task_push_notification_config = on_create_task_push_notification_config
    on_list_task_push_notification_configs = on_create_task_push_notification_config
    on_delete_task_push_notification_config = on_create_task_push_notification_config

    async def on_get_extended_agent_card(
        self, params: Any, context: ServerCallContext
    ) -> pb.AgentCard:
        """Not configured: nobody is told more than others."""
        raise ExtendedAgentCardNotConfiguredError


def dispatcher() -> JsonRpcDispatcher:
    """Returns what answers a POST, by the assistant that `request.state.resolved` names."""
    return JsonRpcDispatcher(Agents(), ContextBuilder(), enable_v0_3_compat=True)


def card(resolved: Resolved, url: str) -> dict[str, Any]:
    """Returns the agent's card, for clients of both versions; `url` is where its messages go."""
    assistant = resolved.assistant
    description = assistant.description or f"The agent {assistant.name!r}."
    return agent_card_to_dict(
        pb.AgentCard(
            name=assistant.name,
            description=description,
            version=str(resolved.record.version),
            supported_interfaces=[
                pb.AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version)
                for version in VERSIONS
            ],
            capabilities=pb.AgentCapabilities(streaming=True, push_notifications=False),
            default_input_modes=MODES,
            default_output_modes=["text/plain"],
            skills=[
                pb.AgentSkill(
                    id=assistant.graph_id,
                    name=assistant.name,
                    description=description,
                    tags=["langgraph"],
                )
            ],
        )
    )


@asynccontextmanager
async def _sent(
    request: Request, params: pb.SendMessageRequest
) -> AsyncIterator[tuple[TaskId, Invocation]]:
    """Admits the run that a message asks for: a new task's, or one with which a paused task goes on."""
    given = params.message
    if params.configuration.HasField("task_push_notification_config"):
        raise PushNotificationNotSupportedError
    if given.task_id:
        task, asked, waiting = await _answering(request, given)
        async with invoked(request, asked, task.thread_id, answers=waiting) as run:
            yield task, run
        return
    context_id = canonical_uuid(given.context_id) if given.context_id else str(uuid.uuid4())
    if context_id is None:
        raise InvalidParamsError(
            message="message.contextId: must be a UUID; the server names new ones"
        )
    await _require_messages(request)
    said = {"role": "user", "content": a2a_tasks.content_of(given), "id": given.message_id}
    asked = RunRequest(
        assistant_id=request.state.resolved.assistant.assistant_id,
        input={"messages": [said]},
        stream_mode=["messages-tuple"],
        creates_thread=True,
    )
    async with invoked(request, asked, context_id) as run:
        yield TaskId(context_id, run.run_id), run


async def _answering(request: Request, given: pb.Message) -> tuple[TaskId, RunRequest, bytes]:
    """Returns what has a paused task go on, and the interrupts that it answers.

    Raises UnsupportedOperationError for a task that waits for nothing.
    """
    task, record = await _found(request, given.task_id)
    if given.context_id and canonical_uuid(given.context_id) != task.thread_id:
        raise InvalidParamsError(message="message.contextId: the task is of another context")
    redis = request.app.state.redis
    waiting = await threads.interrupts_of(redis, task.thread_id)
    shown = await a2a_tasks.shown(request, task, record, 0)
    if shown.status.state != pb.TASK_STATE_INPUT_REQUIRED:
        state = pb.TaskState.Name(shown.status.state).removeprefix("TASK_STATE_").lower()
        raise UnsupportedOperationError(message=f"The task takes no message: it is {state}.")
    answer = a2a_tasks.answer_of(given)
    questions = [each for of_task in msgspec.json.decode(waiting).values() for each in of_task]
    asked = RunRequest(
        assistant_id=record.spec.assistant_id,
        command={"resume": {each["id"]: answer for each in questions}},
        metadata={TASK: str(task)},
        stream_mode=["messages-tuple"],
        multitask_strategy="reject",
        **config_of(record),
    )
    return task, asked, waiting


async def _require_messages(request: Request) -> None:
    resolved: Resolved = request.state.resolved
    schema = await input_schema(request, resolved)
    if schema.get("type") == "object" and "messages" not in schema.get("properties", {}):
        raise UnsupportedOperationError(
            message=f"Graph {resolved.graph.graph_id!r} has no `messages` in its state: A2A needs them."
        )


async def _tell(request: Request, task: TaskId, reader: Reader) -> AsyncGenerator[Event, None]:
    """The task as it is, and what becomes of it, to its end."""
    yield await _now(request, task, 0)
    telling = _Telling(task)
    async with aclosing(entries_of(reader)) as entries:
        async for entry in entries:
            for event in telling.of(entry):
                yield event
    for event in telling.ended(await _now(request, task, 0)):
        yield event


def _history(given: Any) -> int | None:
    return given.history_length if given.HasField("history_length") else None


async def _found(request: Request, task_id: str) -> tuple[TaskId, RunRecord]:
    task = a2a_tasks.parse_task_id(task_id)
    resolved: Resolved = request.state.resolved
    record = await a2a_tasks.newest_run(
        request.app.state.redis, task, resolved.assistant.assistant_id
    )
    return task, record


async def _now(request: Request, task: TaskId, history: int | None) -> pb.Task:
    _, record = await _found(request, str(task))
    return await a2a_tasks.shown(request, task, record, history)
