"""A2A: every assistant with `messages` is an agent, a thread is a context, and a task is a run that answers.

Here is what the protocol's methods do; its forms, in the versions 1.0 and 0.3, are the official SDK's, and how they
are called is in a2a_rpc.py. A task goes on when its client leaves: it comes back by the task's id.
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
from millstream.api.a2a.following import Call, Event, call_of, followed, found, now, tell
from millstream.api.a2a.parts import content_of, data_of
from millstream.api.a2a.task_list import page_of
from millstream.api.a2a.tasks import CONTEXT, MESSAGE, TASK, Question, Task, TaskId
from millstream.api.assistants.graph_operations import schemas_of
from millstream.api.http.resume import RunLocation
from millstream.api.outages import unavailable_errors
from millstream.api.runs import operations as runs
from millstream.api.runs.follow import (
    entries_of,
    invoke,
    read_when_reachable,
)
from millstream.api.runs.operations import Followed
from millstream.api.threads import operations as threads
from millstream.shared.errors import (
    ConflictError,
    InvalidError,
    MillstreamError,
    NotFoundError,
)
from millstream.shared.rules.lifecycle import TERMINAL
from millstream.shared.rules.multitask import CancelReason
from millstream.shared.runs.continuation import continuation
from millstream.shared.wire import RunOptions, RunRequest

MODES: Final = ("messages-tuple",)  # of which a task's runs tell: see following.py
LATER: Final = 3600.0  # s: long after the run that is due then was cancelled


@contextmanager
def told(call: Call) -> Iterator[None]:
    """Turns what this server refuses, inside of the block, into errors of the protocol."""
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
        """Sends a message; the task as it is when the run has ended, or at once if that is asked for."""
        call = call_of(context)
        history = _history(params.configuration)
        with told(call):
            async with _sent(call, params) as (task_id, run):
                if not params.configuration.return_immediately:
                    async for _ in entries_of(run):
                        pass
            return await read_when_reachable(lambda: now(call, task_id, history))

    @validate_request_params
    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Sends a message; the task, and then what becomes of it."""
        call = call_of(context)
        history = _history(params.configuration)
        with told(call):
            async with (
                _sent(call, params) as (task_id, run),
                aclosing(tell(call, task_id, run, history)) as events,
            ):
                async for event in events:
                    yield event

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """The task, and what becomes of it from now on; one that waits is followed when it goes on."""
        call = call_of(context)
        with told(call):
            task = await found(call, params.id)
            async with (
                threads.new_runs(call.context, task.id.thread_id) as news,
                aclosing(followed(call, task, news)) as events,
            ):
                async for event in events:
                    yield event

    @validate_request_params
    async def on_get_task(
        self, params: pb.GetTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        """The task as it is now."""
        call = call_of(context)
        history = _history(params)
        with told(call):
            task = await found(call, params.id)
            return await tasks.shown(call.context, task, history, call.scope)

    @validate_request_params
    async def on_cancel_task(
        self, params: pb.CancelTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        """Cancels the task's run, and returns when it has ended; a task that waits will not go on."""
        call = call_of(context)
        with told(call):
            task = await found(call, params.id)
            run_id = task.record.spec.run_id
            if task.record.status in TERMINAL:
                run_id = await _never(call, task)
            await runs.cancel_and_wait(
                call.context, task.id.thread_id, run_id, reason=CancelReason.EXPLICIT
            )
            return await now(call, task.id, None)

    async def on_list_tasks(
        self, params: pb.ListTasksRequest, context: ServerCallContext
    ) -> pb.ListTasksResponse:
        """The tasks of the agent, or of one of its contexts, newest first."""
        call = call_of(context)
        history = _history(params) or 0
        with told(call):
            page = await page_of(call.context, params, call.assistant_id)
            shown = [
                await tasks.shown(call.context, task, history, call.scope) for task in page.tasks
            ]
        return pb.ListTasksResponse(
            tasks=shown, next_page_token=page.next, page_size=len(shown), total_size=page.total
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
        """Not supported: nobody is told more than others. The versions have different errors for it."""
        if call_of(context).legacy:
            raise ExtendedAgentCardNotConfiguredError
        raise UnsupportedOperationError(
            message="There is no extended card: the agent has one card."
        )


@asynccontextmanager
async def _sent(
    call: Call, params: pb.SendMessageRequest
) -> AsyncIterator[tuple[TaskId, Followed]]:
    """Admits the run of a message and gives it with its task; inside of the block it is followed."""
    given = params.message
    if params.configuration.HasField("task_push_notification_config"):
        raise PushNotificationNotSupportedError
    content = content_of(given, modes_of(call.resolved).input)
    if given.task_id:
        task_id, asked, waiting = await _answering(call, given, content)
        async with invoke(call.context, asked, task_id.thread_id, answers=waiting) as run:
            call.head.add(**RunLocation(run.run_id, run.thread_id).headers())
            yield task_id, run
        return
    await _require_messages(call)
    context_id = given.context_id or str(uuid.uuid4())
    thread_id = tasks.thread_of(context_id, call.assistant_id)
    metadata = {MESSAGE: given.message_id}
    if context_id != thread_id:
        metadata[CONTEXT] = context_id
    asked = RunRequest(
        assistant_id=call.assistant_id,
        input={"messages": [{"role": "user", "content": content, "id": given.message_id}]},
        metadata=metadata,
        options=RunOptions(stream_mode=list(MODES)),
        creates_thread=True,
    )
    async with invoke(call.context, asked, thread_id) as run:
        call.head.add(**RunLocation(run.run_id, run.thread_id).headers())
        yield TaskId(thread_id, run.run_id), run


async def _answering(
    call: Call, given: pb.Message, content: Any
) -> tuple[TaskId, RunRequest, bytes]:
    """Returns what has a paused task go on, and the interrupts that it answers.

    Raises UnsupportedOperationError for a task that waits for nothing.
    """
    task = await found(call, given.task_id)
    if given.context_id and given.context_id != task.context_id:
        raise InvalidParamsError(message="message.contextId: the task is of another context")
    waiting = await threads.interrupts(call.context, task.id.thread_id)
    questions = await tasks.questions_of(call.context, task.record)
    if not questions:
        state = pb.TaskState.Name(tasks.state_of(task.record, questions))
        name = state.removeprefix("TASK_STATE_").lower()
        raise UnsupportedOperationError(message=f"The task takes no message: it is {name}.")
    asked = _going_on(task, command={"resume": _answers(given, content, questions)})
    return task.id, asked, waiting


def _going_on(
    task: Task, *, command: dict[str, Any] | None = None, after_seconds: float = 0
) -> RunRequest:
    """Returns the request for a run that continues the task, with the config and options of its newest run."""
    metadata: dict[str, Any] = {TASK: str(task.id)}
    metadata |= {key: task.metadata[key] for key in (MESSAGE, CONTEXT) if key in task.metadata}
    request = continuation(task.record, command=command, metadata=metadata)
    modes = list(dict.fromkeys([*request.options.stream_mode, *MODES]))
    return replace(
        request,
        options=replace(request.options, stream_mode=modes),
        after_seconds=after_seconds,
    )


async def _never(call: Call, task: Task) -> str:
    """Admits a run with which a task that waits would go on much later, and returns its id: to be cancelled.

    So a task that waits has a newest run that was cancelled, as one has whose run was under way. Raises
    TaskNotCancelableError for a task that does not wait.
    """
    waiting = await threads.interrupts(call.context, task.id.thread_id)
    if not await tasks.questions_of(call.context, task.record):
        raise TaskNotCancelableError(message="No run of the task is under way.")
    asked = _going_on(task, after_seconds=LATER)
    async with invoke(call.context, asked, task.id.thread_id, answers=waiting) as run:
        return run.run_id


def _answers(given: pb.Message, content: Any, questions: list[Question]) -> dict[str, Any]:
    """Returns the answers by the interrupts' ids: those that the data names, or one for all."""
    ids = {each.id for each in questions}
    if len(given.parts) == 1 and given.parts[0].HasField("data"):
        data = data_of(given.parts[0])
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


def _history(given: Any) -> int | None:
    if not given.HasField("history_length"):
        return None
    if given.history_length < 0:
        raise InvalidParamsError(message="historyLength: must be 0 or more")
    return int(given.history_length)
