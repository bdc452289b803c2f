"""What becomes of a task of A2A, told as it happens: the events of its runs, to the end of the task.

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
from millstream.api.runs.operations import Followed
from millstream.shared.assistants import Resolved
from millstream.shared.errors import UnavailableError
from millstream.shared.events.entries import START, Entry
from millstream.shared.rules.lifecycle import TERMINAL

Event = pb.Task | pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent


@dataclass(frozen=True, slots=True)
class Call:
    """What a method is told beside its parameters."""

    context: RequestContext
    resolved: Resolved
    head: Head  # of the answer: a method that admits a run tells it there
    legacy: bool  # of version 0.3
    scope: Scope  # of the histories in the answer

    @property
    def assistant_id(self) -> str:
        """The agent."""
        return self.resolved.assistant.assistant_id


def call_of(context: ServerCallContext) -> Call:
    """Returns the call that a method was given its context for."""
    call: Call = context.state["call"]
    return call


@dataclass(slots=True)
class _Telling:
    """What a client was told of a run, so that the next entry is told as it should be."""

    task: Task
    joined: bool = False  # in its middle: the client may lack the beginning of a message
    begun: set[str] = field(default_factory=set)  # ids of messages of which the client has a part

    def of(self, entry: Entry) -> Iterator[Event]:
        """Yields the events of an entry, apart from the end."""
        if entry.event == b"metadata":
            self.begun.clear()  # a later attempt says what it says anew
            state = tasks.status(self.task, pb.TASK_STATE_WORKING, [])
            yield pb.TaskStatusUpdateEvent(**self.task.ids, status=state)
        elif entry.event.partition(b"|")[0] == b"messages":
            said = msgspec.json.decode(entry.data)[0]
            parts = parts_of(said.get("content"))
            if said.get("type") not in ("ai", "AIMessageChunk") or not parts:
                return
            message_id = str(said.get("id"))
            yield pb.TaskArtifactUpdateEvent(
                **self.task.ids,
                artifact=tasks.artifact(message_id, parts),
                append=message_id in self.begun,
                last_chunk=said["type"] == "ai",
            )
            self.begun.add(message_id)

    def ended(self, task: pb.Task) -> Iterator[Event]:
        """Yields how it ended, after what the client was not told yet of the answer."""
        for artifact in task.artifacts:
            if self.joined or artifact.artifact_id not in self.begun:
                yield pb.TaskArtifactUpdateEvent(
                    **self.task.ids, artifact=artifact, last_chunk=True
                )
        yield pb.TaskStatusUpdateEvent(**self.task.ids, status=task.status)


async def tell(
    call: Call, task_id: TaskId, run: Followed, history: int | None
) -> AsyncGenerator[Event, None]:
    """The task as it is, and what becomes of its run, to the end."""
    task = await tasks.find(call.context, task_id, call.assistant_id)
    yield await tasks.shown(call.context, task, history, call.scope)
    async with aclosing(_becoming(call, _Telling(task), run)) as events:
        async for event in events:
            yield event


async def _becoming(call: Call, telling: _Telling, run: Followed) -> AsyncGenerator[Event, None]:
    async with aclosing(entries_of(run)) as entries:
        async for entry in entries:
            for event in telling.of(entry):
                yield event
    for event in telling.ended(await read_when_reachable(lambda: now(call, telling.task.id, 0))):
        yield event


async def followed(call: Call, task: Task, news: asyncio.Event) -> AsyncGenerator[Event, None]:
    """The task as it is, and what becomes of it, run after run; `news` tells that there may be another run."""
    if await _is_over(call, task):
        raise UnsupportedOperationError(message="The task has ended.")
    is_first = True
    while True:
        run_id = task.record.spec.run_id
        after = None if is_first else START
        with open_stream(await runs.follow(call.context, task.record, after)) as run:
            if is_first:
                call.head.add(**RunLocation(run_id, task.id.thread_id).headers())
                await run.reader.begin()  # what comes while the task is looked up is told behind it
                yield await tasks.shown(call.context, task, None, call.scope)
            if not is_first or task.record.status not in TERMINAL:
                telling = _Telling(task, joined=is_first)
                async with aclosing(_becoming(call, telling, run)) as events:
                    async for event in events:
                        yield event
        is_first = False
        while task.record.spec.run_id == run_id:
            news.clear()
            task = await read_when_reachable(lambda: found(call, str(task.id)))  # noqa: B023 - awaited at once
            if await _is_over(call, task) or (call.legacy and task.record.status in TERMINAL):
                return
            if task.record.spec.run_id == run_id:
                await news.wait()
            if call.context.closing:
                raise UnavailableError("The server is restarting; the task goes on.")


async def _is_over(call: Call, task: Task) -> bool:
    """Returns whether nothing can become of the task any more."""
    if task.record.status not in TERMINAL:
        return False
    return not await tasks.questions_of(call.context, task.record)


async def found(call: Call, task_id: str) -> Task:
    """Returns the agent's task of that id; raises TaskNotFoundError."""
    return await tasks.find(call.context, tasks.parse_task_id(task_id), call.assistant_id)


async def now(call: Call, task_id: TaskId, history: int | None) -> pb.Task:
    """Returns the task as it is now, with so many messages of its history (None: all)."""
    task = await tasks.find(call.context, task_id, call.assistant_id)
    return await tasks.shown(call.context, task, history, call.scope)
