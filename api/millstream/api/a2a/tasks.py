"""Converts runs to tasks of A2A: their ids, contexts, states, artifacts and history."""

import uuid
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import TaskNotFoundError

from millstream.api.a2a.parts import data_part, parts_of
from millstream.api.context import RequestContext
from millstream.api.runs import operations as runs
from millstream.api.threads import operations as threads
from millstream.api.uuids import canonical_uuid
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.runs import RunRecord

# In the metadata of a run:
TASK: Final = "a2a_task"  # the id of the task that the run continues
CONTEXT: Final = "a2a_context"  # the client's id of the context, if it is not the thread's id
MESSAGE: Final = "a2a_message"  # the id of the task's first message

RUNS: Final = 100  # newest runs of a thread, in which a task's newest one is searched
STATES: Final = {
    RunStatus.PENDING: pb.TASK_STATE_SUBMITTED,
    RunStatus.RUNNING: pb.TASK_STATE_WORKING,
    RunStatus.SUCCESS: pb.TASK_STATE_COMPLETED,
    RunStatus.ERROR: pb.TASK_STATE_FAILED,
    RunStatus.TIMEOUT: pb.TASK_STATE_FAILED,
    RunStatus.INTERRUPTED: pb.TASK_STATE_CANCELED,
}
Scope = Literal[
    "context", "task"
]  # of a history: the messages of the whole context, or of the task
Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TaskId:
    """The id of a task: its context's thread, and its first run."""

    thread_id: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.thread_id}:{self.run_id}"


@dataclass(frozen=True, slots=True)
class Task:
    """A task and its newest run."""

    id: TaskId
    record: RunRecord
    others: frozenset[str]  # ids of the first messages of other tasks in the context

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the newest run."""
        return _metadata(self.record)

    @property
    def context_id(self) -> str:
        """The client's id of the context."""
        return str(self.metadata.get(CONTEXT, self.id.thread_id))

    @property
    def ids(self) -> Any:
        """The ids that each event of the task has."""
        return {"task_id": str(self.id), "context_id": self.context_id}


def parse_task_id(text: str) -> TaskId:
    """Returns the id's parts. Raises TaskNotFoundError for an id that no task can have."""
    thread_id, _, run_id = text.partition(":")
    parts = canonical_uuid(thread_id), canonical_uuid(run_id)
    if parts[0] is None or parts[1] is None:
        raise TaskNotFoundError
    return TaskId(parts[0], parts[1])


def thread_of(context_id: str, assistant_id: str) -> str:
    """Returns the id of a context's thread: the context's id if it is a UUID, else one derived from id and agent."""
    return canonical_uuid(context_id) or str(uuid.uuid5(uuid.UUID(assistant_id), context_id))


def id_of(record: RunRecord) -> TaskId:
    """Returns the id of the run's task: a run that continues none is a task of its own."""
    itself = TaskId(record.spec.thread_id, record.spec.run_id)
    name = _metadata(record).get(TASK)
    try:
        task_id = parse_task_id(name) if isinstance(name, str) else itself
    except TaskNotFoundError:  # a client may write anything into the metadata of a run
        return itself
    return task_id if task_id.thread_id == itself.thread_id else itself


def _metadata(record: RunRecord) -> dict[str, Any]:
    metadata: dict[str, Any] = msgspec.json.decode(record.spec.metadata)
    return metadata


async def find(context: RequestContext, task_id: TaskId, assistant_id: str) -> Task:
    """Returns the assistant's task with its newest run. Raises TaskNotFoundError."""
    first = await runs.find(context, task_id.thread_id, task_id.run_id)
    if first is None or first.spec.assistant_id != assistant_id or id_of(first) != task_id:
        raise TaskNotFoundError
    records = await runs.newest_runs(context, task_id.thread_id, limit=RUNS)
    return tasks_of(records, assistant_id).get(task_id) or Task(task_id, first, frozenset())


def tasks_of(records: list[RunRecord], assistant_id: str) -> dict[TaskId, Task]:
    """Returns the assistant's tasks among a context's runs. Both are ordered newest first."""
    newest: dict[TaskId, RunRecord] = {}
    first_messages: dict[TaskId, str] = {}
    for record in records:
        task_id = id_of(record)
        if MESSAGE in (metadata := _metadata(record)):
            first_messages[task_id] = str(metadata[MESSAGE])
        if record.spec.assistant_id == assistant_id:
            newest.setdefault(task_id, record)
    return {
        task_id: Task(
            task_id,
            record,
            frozenset(each for other, each in first_messages.items() if other != task_id),
        )
        for task_id, record in newest.items()
    }


@dataclass(frozen=True, slots=True)
class Question:
    """An interrupt on which a thread waits."""

    id: str
    value: Any


async def questions_of(context: RequestContext, record: RunRecord) -> list[Question]:
    """Returns the interrupts on which the thread waits, if this run paused it."""
    if record.status is not RunStatus.SUCCESS:
        return []
    newest = await runs.newest_runs(context, record.spec.thread_id, limit=1)
    if not newest or newest[0].spec.run_id != record.spec.run_id:
        return []
    return questions_in(await threads.interrupts(context, record.spec.thread_id))


def questions_in(interrupts: bytes) -> list[Question]:
    """Returns the interrupts of a thread from its record's JSON."""
    by_task = msgspec.json.decode(interrupts)
    return [Question(each["id"], each["value"]) for of_task in by_task.values() for each in of_task]


def state_of(record: RunRecord, questions: list[Question]) -> "pb.TaskState":
    """Returns the state of a task from its newest run and the interrupts that wait since then."""
    if record.status is RunStatus.SUCCESS and questions:
        return pb.TASK_STATE_INPUT_REQUIRED
    return STATES[record.status]


async def show(
    context: RequestContext, task: Task, history: int | None, scope: Scope = "context"
) -> pb.Task:
    """Returns the task's current state, with the last `history` messages (None: all)."""
    record = task.record
    questions = await questions_of(context, record)
    state = state_of(record, questions)
    parts: list[pb.Part] = []
    messages: Messages = []
    if record.status in TERMINAL:
        output = msgspec.json.decode(await runs.stored_output(context, record))
        values = output if isinstance(output, dict) else {}
        if "__error__" in values:
            parts = [pb.Part(text=str(values["__error__"].get("message", "")))]
        elif questions:
            parts = question_parts(questions)
        stored = values.get("messages")
        messages = (
            [each for each in stored if isinstance(each, dict)] if isinstance(stored, list) else []
        )
    result = pb.Task(
        id=str(task.id), context_id=task.context_id, status=make_status(task, state, parts)
    )
    result.status.timestamp.FromMicroseconds(record.updated_at)
    begins, ends = _message_range(messages, task)
    if state == pb.TASK_STATE_COMPLETED and (answer := _answer_artifact(messages[begins:ends])):
        result.artifacts.append(answer)
    converted = _to_a2a(messages[begins:ends] if scope == "task" else messages[:ends], task)
    result.history.extend(
        converted if history is None else converted[len(converted) - history :][:history]
    )
    return result


def _message_range(messages: Messages, task: Task) -> tuple[int, int]:
    """Returns the range of a task's messages in those of its context.

    It begins with the task's first message if that is stored, else with the user's last one. It ends before the first
    message of another task, so that it includes the user's answers to interrupts.
    """
    ids = [each.get("id") for each in messages]
    by_user = [n for n, each in enumerate(messages) if each.get("type") == "human"]
    first = [n for n in by_user if ids[n] == task.metadata.get(MESSAGE)]
    begins = first[-1] if first else by_user[-1] if by_user else 0
    return begins, next((n for n in by_user if n > begins and ids[n] in task.others), len(messages))


def _answer_artifact(messages: Messages) -> pb.Artifact | None:
    """Returns the agent's newest message that has parts, as an artifact."""
    for each in reversed(messages):
        if each.get("type") == "ai" and (parts := parts_of(each.get("content"))):
            return make_artifact(str(each.get("id")), parts)
    return None


def _to_a2a(messages: Messages, task: Task) -> list[pb.Message]:
    roles = {"ai": pb.ROLE_AGENT, "human": pb.ROLE_USER}
    return [
        make_message(task, roles[each["type"]], parts, str(each.get("id")))
        for each in messages
        if each.get("type") in roles and (parts := parts_of(each.get("content")))
    ]


def question_parts(questions: list[Question]) -> list[pb.Part]:
    """Returns the questions of interrupts: as text for people, and as data with the ids for answers."""
    texts = [
        each.value if isinstance(each.value, str) else msgspec.json.encode(each.value).decode()
        for each in questions
    ]
    interrupts = [{"id": each.id, "value": each.value} for each in questions]
    return [pb.Part(text="\n".join(texts)), data_part({"interrupts": interrupts})]


def make_status(task: Task, state: "pb.TaskState", parts: list[pb.Part]) -> pb.TaskStatus:
    """Returns a status, with a message if there are parts."""
    result = pb.TaskStatus(state=state)
    result.timestamp.GetCurrentTime()
    if parts:
        message_id = f"{task.record.spec.run_id}:{state}"
        result.message.CopyFrom(make_message(task, pb.ROLE_AGENT, parts, message_id))
    return result


def make_message(task: Task, role: "pb.Role", parts: list[pb.Part], message_id: str) -> pb.Message:
    """Returns a message of a task."""
    return pb.Message(message_id=message_id, role=role, parts=parts, **task.ids)


def make_artifact(artifact_id: str, parts: list[pb.Part]) -> pb.Artifact:
    """Returns an artifact with the agent's answer."""
    return pb.Artifact(artifact_id=artifact_id, name="response", parts=parts)
