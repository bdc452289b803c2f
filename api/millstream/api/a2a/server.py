"""The methods of A2A. An assistant with `messages` is an agent, a thread is a context, and a run is a task.

The official SDK has the types of the versions 1.0 and 0.3; rpc.py calls the methods. A task continues when its client
leaves, and the client finds it by the task's id.
Source: a2a-protocol.org; the LangGraph Platform API for the path and the extension.
"""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, Final

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
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
from msgspec.structs import replace

from millstream.api.a2a import tasks
from millstream.api.a2a.card import modes_of
from millstream.api.a2a.following import (
    Call,
    Event,
    call_of,
    current_task,
    find_task,
    follow_task,
    stream_task,
)
from millstream.api.a2a.parts import content_of, data_of
from millstream.api.a2a.task_list import read_page
from millstream.api.a2a.tasks import CONTEXT, MESSAGE, TASK, Question, Task, TaskId
from millstream.api.assistants.graph_operations import schemas_of
from millstream.api.http.resume import RunLocation
from millstream.api.outages import unavailable_errors
from millstream.api.runs import end_operations
from millstream.api.runs.follow import (
    entries_of,
    invoke,
    read_when_reachable,
)
from millstream.api.runs.operations import FollowedRun
from millstream.api.threads import operations as threads
from millstream.shared.errors import (
    ConflictError,
    InvalidError,
    MillstreamError,
    NotFoundError,
)
from millstream.shared.rules.lifecycle import TERMINAL
from millstream.shared.runs.continuation import continuation
from millstream.shared.wire import RunOptions, RunRequest

MODES: Final = ("messages-tuple",)  # of a task's runs; following.py reads them
CANCELLED_RUN_DELAY: Final = 3600.0  # s; the run is cancelled long before it is due


@contextmanager
def protocol_errors(call: Call) -> Iterator[None]:
    """Converts errors inside of the block to errors of the protocol."""
    try:
        with unavailable_errors(call.context):
            yield
    except NotFoundError as error:
        raise TaskNotFoundError(message=str(error)) from None
    except InvalidError as error:
        raise InvalidParamsError(message=str(error)) from None
    except ConflictError as error:
        raise UnsupportedOperationError(message=str(error)) from None
    except MillstreamError as error:
        raise InternalError(message=str(error)) from None


class Agents(RequestHandler):
    """The methods of the protocol."""

    @validate_request_params
    async def on_message_send(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> pb.Task:
        """Sends a message. Returns the task after its run's end, or at once if the client requests it."""
        call = call_of(context)
        history = _history(params.configuration)
        with protocol_errors(call):
            async with _send_message(call, params) as (task_id, run):
                if not params.configuration.return_immediately:
                    async for _ in entries_of(run):
                        pass
            return await read_when_reachable(lambda: current_task(call, task_id, history))

    @validate_request_params
    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Sends a message. Yields the task, and then its events."""
        call = call_of(context)
        history = _history(params.configuration)
        with protocol_errors(call):
            async with (
                _send_message(call, params) as (task_id, run),
                aclosing(stream_task(call, task_id, run, history)) as events,
            ):
                async for event in events:
                    yield event

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Yields the task, and then its new events, also those after an answer resumes it."""
        call = call_of(context)
        with protocol_errors(call):
            task = await find_task(call, params.id)
            async with (
                threads.new_runs(call.context, task.id.thread_id) as news,
                aclosing(follow_task(call, task, news)) as events,
            ):
                async for event in events:
                    yield event

    @validate_request_params
    async def on_get_task(
        self, params: pb.GetTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        """Returns the task's current state."""
        call = call_of(context)
        history = _history(params)
        with protocol_errors(call):
            task = await find_task(call, params.id)
            return await tasks.show(call.context, task, history, call.scope)

    @validate_request_params
    async def on_cancel_task(
        self, params: pb.CancelTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        """Cancels the task's run and waits for its end. A task that waits for an answer can't be resumed after that."""
        call = call_of(context)
        with protocol_errors(call):
            task = await find_task(call, params.id)
            run_id = task.record.spec.run_id
            if task.record.status in TERMINAL:
                run_id = await _admit_cancelled_run(call, task)
            await end_operations.cancel_to_end(call.context, task.id.thread_id, run_id)
            return await current_task(call, task.id, None)

    async def on_list_tasks(
        self, params: pb.ListTasksRequest, context: ServerCallContext
    ) -> pb.ListTasksResponse:
        """Returns a page of the tasks of the agent or of one of its contexts, newest first."""
        call = call_of(context)
        history = _history(params) or 0
        with protocol_errors(call):
            page = await read_page(call.context, params, call.assistant_id)
            page_tasks = [
                await tasks.show(call.context, task, history, call.scope) for task in page.tasks
            ]
        return pb.ListTasksResponse(
            tasks=page_tasks,
            next_page_token=page.next,
            page_size=len(page_tasks),
            total_size=page.total,
        )

    async def on_create_task_push_notification_config(
        self, params: Any, context: ServerCallContext
    ) -> Any:
        """Not supported. Runs have webhooks instead."""
        raise PushNotificationNotSupportedError

    on_get_task_push_notification_config = on_create_task_push_notification_config
    on_list_task_push_notification_configs = on_create_task_push_notification_config
    on_delete_task_push_notification_config = on_create_task_push_notification_config

    async def on_get_extended_agent_card(
        self, params: Any, context: ServerCallContext
    ) -> pb.AgentCard:
        """Not supported: each client gets the same card. The versions have different errors for it."""
        if call_of(context).legacy:
            raise ExtendedAgentCardNotConfiguredError
        raise UnsupportedOperationError(
            message="There is no extended card: the agent has one card."
        )


@asynccontextmanager
async def _send_message(
    call: Call, params: pb.SendMessageRequest
) -> AsyncIterator[tuple[TaskId, FollowedRun]]:
    """Admits the run of a message, and follows it inside of the block. Yields the task's id and the run."""
    message = params.message
    if params.configuration.HasField("task_push_notification_config"):
        raise PushNotificationNotSupportedError
    content = content_of(message, modes_of(call.resolved).input)
    if message.task_id:
        task_id, request, interrupts = await _answer_request(call, message, content)
        async with invoke(call.context, request, task_id.thread_id, answers=interrupts) as run:
            call.head.add(**RunLocation(run.run_id, run.thread_id).headers())
            yield task_id, run
        return
    await _require_messages(call)
    context_id = message.context_id or str(uuid.uuid4())
    thread_id = tasks.thread_of(context_id, call.assistant_id)
    metadata = {MESSAGE: message.message_id}
    if context_id != thread_id:
        metadata[CONTEXT] = context_id
    request = RunRequest(
        assistant_id=call.assistant_id,
        input={"messages": [{"role": "user", "content": content, "id": message.message_id}]},
        metadata=metadata,
        options=RunOptions(stream_mode=list(MODES)),
        creates_thread=True,
    )
    async with invoke(call.context, request, thread_id) as run:
        call.head.add(**RunLocation(run.run_id, run.thread_id).headers())
        yield TaskId(thread_id, run.run_id), run


async def _answer_request(
    call: Call, message: pb.Message, content: Any
) -> tuple[TaskId, RunRequest, bytes]:
    """Returns the request that resumes a paused task, and the interrupts that it answers.

    Raises UnsupportedOperationError for a task that does not wait.
    """
    task = await find_task(call, message.task_id)
    if message.context_id and message.context_id != task.context_id:
        raise InvalidParamsError(message="message.contextId: the task belongs to another context")
    interrupts = await threads.interrupts(call.context, task.id.thread_id)
    questions = await tasks.questions_of(call.context, task.record)
    if not questions:
        state = pb.TaskState.Name(tasks.state_of(task.record, questions))
        name = state.removeprefix("TASK_STATE_").lower()
        raise UnsupportedOperationError(message=f"The task accepts no message: it is {name}.")
    request = _continuation(task, command={"resume": _answers(message, content, questions)})
    return task.id, request, interrupts


def _continuation(
    task: Task, *, command: dict[str, Any] | None = None, after_seconds: float = 0
) -> RunRequest:
    """Returns the request of a run that continues the task, with the config and options of its newest run."""
    metadata: dict[str, Any] = {TASK: str(task.id)}
    metadata |= {key: task.metadata[key] for key in (MESSAGE, CONTEXT) if key in task.metadata}
    request = continuation(task.record, command=command, metadata=metadata)
    modes = list(dict.fromkeys([*request.options.stream_mode, *MODES]))
    return replace(
        request,
        options=replace(request.options, stream_mode=modes),
        after_seconds=after_seconds,
    )


async def _admit_cancelled_run(call: Call, task: Task) -> str:
    """Admits a run of a paused task that is due much later, for the caller to cancel. Returns its id.

    After the cancel, the newest run of the task is a cancelled one, as for a task whose run was active. Raises
    TaskNotCancelableError for a task that does not wait.
    """
    interrupts = await threads.interrupts(call.context, task.id.thread_id)
    if not await tasks.questions_of(call.context, task.record):
        raise TaskNotCancelableError(message="The task has no active run.")
    request = _continuation(task, after_seconds=CANCELLED_RUN_DELAY)
    async with invoke(call.context, request, task.id.thread_id, answers=interrupts) as run:
        return run.run_id


def _answers(message: pb.Message, content: Any, questions: list[Question]) -> dict[str, Any]:
    """Returns the answers by the interrupts' ids: those in the message's data, or one for all."""
    ids = {each.id for each in questions}
    if len(message.parts) == 1 and message.parts[0].HasField("data"):
        data = data_of(message.parts[0])
        if isinstance(data, dict) and data and data.keys() <= ids:
            return data
        return dict.fromkeys(ids, data)
    return dict.fromkeys(ids, content)


async def _require_messages(call: Call) -> None:
    schema = (await schemas_of(call.context, call.resolved)).input
    if schema.get("type") == "object" and "messages" not in schema.get("properties", {}):
        name = call.resolved.graph.graph_id
        raise UnsupportedOperationError(
            message=f"Graph {name!r} has no `messages` in its state: A2A needs them."
        )


def _history(params: Any) -> int | None:
    if not params.HasField("history_length"):
        return None
    if params.history_length < 0:
        raise InvalidParamsError(message="historyLength: must be 0 or more")
    return int(params.history_length)
