"""Streams the events of an A2A task, over all its runs, to its end.

Source: a2a-protocol.org, "Task Update Delivery Mechanisms".
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec
from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import UnsupportedOperationError

from millstream.api.a2a import tasks
from millstream.api.a2a.parts import parts_of
from millstream.api.a2a.tasks import Scope, Task, TaskId
from millstream.api.context import RequestContext
from millstream.api.http.keepalive import Head
from millstream.api.http.resume import RunLocation
from millstream.api.runs import operations as runs
from millstream.api.runs.follow import entries_of, open_stream, read_when_reachable
from millstream.api.runs.operations import FollowedRun
from millstream.shared.assistants import Resolved
from millstream.shared.errors import UnavailableError
from millstream.shared.events.entries import START, Entry
from millstream.shared.rules.lifecycle import TERMINAL

Event = pb.Task | pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent


@dataclass(frozen=True, slots=True)
class Call:
    """The context of one method call."""

    context: RequestContext
    resolved: Resolved
    head: Head  # of the response; a method that admits a run adds the run's location
    legacy: bool  # protocol version 0.3
    scope: Scope  # of the histories in the response

    @property
    def assistant_id(self) -> str:
        """The agent's assistant."""
        return self.resolved.assistant.assistant_id


def call_of(context: ServerCallContext) -> Call:
    """Returns the call that the SDK's context carries."""
    call: Call = context.state["call"]
    return call


@dataclass(slots=True)
class _EventWriter:
    """Converts a run's entries to events, and knows the messages that the client has begun to get."""

    task: Task
    joined: bool = False  # amid the run: the client may lack the beginning of a message
    begun: set[str] = field(default_factory=set)  # ids of messages that the client has in part

    def events_of(self, entry: Entry) -> Iterator[Event]:
        """Yields the events of an entry other than the last one."""
        if entry.event == b"metadata":
            self.begun.clear()  # a later attempt sends its messages again
            state = tasks.make_status(self.task, pb.TASK_STATE_WORKING, [])
            yield pb.TaskStatusUpdateEvent(**self.task.ids, status=state)
        elif entry.event.partition(b"|")[0] == b"messages":
            chunk = msgspec.json.decode(entry.data)[0]
            parts = parts_of(chunk.get("content"))
            if chunk.get("type") not in ("ai", "AIMessageChunk") or not parts:
                return
            message_id = str(chunk.get("id"))
            yield pb.TaskArtifactUpdateEvent(
                **self.task.ids,
                artifact=tasks.make_artifact(message_id, parts),
                append=message_id in self.begun,
                last_chunk=chunk["type"] == "ai",
            )
            self.begun.add(message_id)

    def final_events(self, task: pb.Task) -> Iterator[Event]:
        """Yields the artifacts that the client lacks, and then the final status."""
        for artifact in task.artifacts:
            if self.joined or artifact.artifact_id not in self.begun:
                yield pb.TaskArtifactUpdateEvent(
                    **self.task.ids, artifact=artifact, last_chunk=True
                )
        yield pb.TaskStatusUpdateEvent(**self.task.ids, status=task.status)


async def stream_task(
    call: Call, task_id: TaskId, run: FollowedRun, history: int | None
) -> AsyncGenerator[Event, None]:
    """Yields the task, and then the events of its run to the end."""
    task = await tasks.find(call.context, task_id, call.assistant_id)
    yield await tasks.show(call.context, task, history, call.scope)
    async with aclosing(_run_events(call, _EventWriter(task), run)) as events:
        async for event in events:
            yield event


async def _run_events(
    call: Call, writer: _EventWriter, run: FollowedRun
) -> AsyncGenerator[Event, None]:
    async with aclosing(entries_of(run)) as entries:
        async for entry in entries:
            for event in writer.events_of(entry):
                yield event
    for event in writer.final_events(
        await read_when_reachable(lambda: current_task(call, writer.task.id, 0))
    ):
        yield event


async def follow_task(call: Call, task: Task, news: asyncio.Event) -> AsyncGenerator[Event, None]:
    """Yields the task, and then the events of its runs, one after the other.

    `news` is set when the thread may have a new run.
    """
    if await _is_over(call, task):
        raise UnsupportedOperationError(message="The task has ended.")
    is_first = True
    while True:
        run_id = task.record.spec.run_id
        after = None if is_first else START
        with open_stream(await runs.follow(call.context, task.record, after)) as run:
            if is_first:
                call.head.add(**RunLocation(run_id, task.id.thread_id).headers())
                await run.reader.begin()  # entries that arrive during the lookup follow the task
                yield await tasks.show(call.context, task, None, call.scope)
            if not is_first or task.record.status not in TERMINAL:
                writer = _EventWriter(task, joined=is_first)
                async with aclosing(_run_events(call, writer, run)) as events:
                    async for event in events:
                        yield event
        is_first = False
        while task.record.spec.run_id == run_id:
            news.clear()
            task = await read_when_reachable(lambda: find_task(call, str(task.id)))  # noqa: B023 - awaited at once
            if await _is_over(call, task) or (call.legacy and task.record.status in TERMINAL):
                return
            if task.record.spec.run_id == run_id:
                await news.wait()
            if call.context.closing:
                raise UnavailableError("The server is restarting; the task continues.")


async def _is_over(call: Call, task: Task) -> bool:
    """Returns whether the task has ended and waits for no answer."""
    if task.record.status not in TERMINAL:
        return False
    return not await tasks.questions_of(call.context, task.record)


async def find_task(call: Call, task_id: str) -> Task:
    """Returns the agent's task. Raises TaskNotFoundError."""
    return await tasks.find(call.context, tasks.parse_task_id(task_id), call.assistant_id)


async def current_task(call: Call, task_id: TaskId, history: int | None) -> pb.Task:
    """Returns the task's current state, with the last `history` messages (None: all)."""
    task = await tasks.find(call.context, task_id, call.assistant_id)
    return await tasks.show(call.context, task, history, call.scope)
