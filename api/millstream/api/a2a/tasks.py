"""Runs as tasks of A2A: their ids, contexts, states, artifacts and history."""

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
TASK: Final = "a2a_task"  # the task that it goes on with
CONTEXT: Final = (
    "a2a_context"  # the context as its client calls it, where that is not the thread's id
)
MESSAGE: Final = "a2a_message"  # the id of the message that the task began with

RUNS: Final = 100  # newest ones of a thread, among which a task's newest is looked for
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
]  # of a history: all messages of the context, or those of the task
Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TaskId:
    """A task: the thread that is its context, and the run that it began with."""

    thread_id: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.thread_id}:{self.run_id}"


@dataclass(frozen=True, slots=True)
class Task:
    """A task, its context as clients call it, and the newest of its runs."""

    id: TaskId
    record: RunRecord
    others: frozenset[str]  # ids of the messages with which other tasks of the context began

    @property
    def metadata(self) -> dict[str, Any]:
        """What its newest run is known by."""
        return _metadata(self.record)

    @property
    def context_id(self) -> str:
        """The context, as the client that began it calls it."""
        return str(self.metadata.get(CONTEXT, self.id.thread_id))

    @property
    def ids(self) -> Any:
        """The fields that each event of the task has."""
        return {"task_id": str(self.id), "context_id": self.context_id}


def parse_task_id(text: str) -> TaskId:
    """Returns the id's parts; raises TaskNotFoundError for an id that no task can have."""
    thread_id, _, run_id = text.partition(":")
    parts = canonical_uuid(thread_id), canonical_uuid(run_id)
    if parts[0] is None or parts[1] is None:
        raise TaskNotFoundError
    return TaskId(parts[0], parts[1])


def thread_of(context_id: str, assistant_id: str) -> str:
    """Returns the thread of a context: the one of that id, or one that follows from the name and the agent."""
    return canonical_uuid(context_id) or str(uuid.uuid5(uuid.UUID(assistant_id), context_id))


def id_of(record: RunRecord) -> TaskId:
    """Returns the task that a run belongs to."""
    named = _metadata(record).get(TASK)
    if isinstance(named, str):
        return parse_task_id(named)
    return TaskId(record.spec.thread_id, record.spec.run_id)


def _metadata(record: RunRecord) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(record.spec.metadata)
    return found


async def find(context: RequestContext, task_id: TaskId, assistant_id: str) -> Task:
    """Returns the assistant's task with the run with which it went on last; raises TaskNotFoundError."""
    first = await runs.find(context, task_id.thread_id, task_id.run_id)
    if first is None or first.spec.assistant_id != assistant_id or id_of(first) != task_id:
        raise TaskNotFoundError
    found = await runs.list_runs(context, task_id.thread_id, limit=RUNS)
    return of_context(found, assistant_id).get(task_id) or Task(task_id, first, frozenset())


def of_context(records: list[RunRecord], assistant_id: str) -> dict[TaskId, Task]:
    """Returns the assistant's tasks of a context, by the context's runs: newest first, tasks too."""
    newest: dict[TaskId, RunRecord] = {}
    began: dict[TaskId, str] = {}
    for record in records:
        task_id = id_of(record)
        if MESSAGE in (metadata := _metadata(record)):
            began[task_id] = str(metadata[MESSAGE])
        if record.spec.assistant_id == assistant_id:
            newest.setdefault(task_id, record)
    return {
        task_id: Task(
            task_id, record, frozenset(each for other, each in began.items() if other != task_id)
        )
        for task_id, record in newest.items()
    }


@dataclass(frozen=True, slots=True)
class Question:
    """An interrupt on which a thread waits."""

    id: str
    value: Any


async def questions_of(context: RequestContext, record: RunRecord) -> list[Question]:
    """Returns what the thread waits for, if it was this run that paused."""
    if record.status is not RunStatus.SUCCESS:
        return []
    newest = await runs.list_runs(context, record.spec.thread_id, limit=1)
    if not newest or newest[0].spec.run_id != record.spec.run_id:
        return []
    return questions_in(await threads.interrupts(context, record.spec.thread_id))


def questions_in(interrupts: bytes) -> list[Question]:
    """Returns the interrupts of a thread, given as its record has them."""
    waiting = msgspec.json.decode(interrupts)
    return [Question(each["id"], each["value"]) for of_task in waiting.values() for each in of_task]


def state_of(record: RunRecord, questions: list[Question]) -> "pb.TaskState":
    """Returns the state of a task by its newest run, and what the thread waits for since."""
    if record.status is RunStatus.SUCCESS and questions:
        return pb.TASK_STATE_INPUT_REQUIRED
    return STATES[record.status]


async def shown(
    context: RequestContext, task: Task, history: int | None, scope: Scope = "context"
) -> pb.Task:
    """Returns the task as it is now, with so many messages of its history (None: all)."""
    record = task.record
    questions = await questions_of(context, record)
    state = state_of(record, questions)
    said: list[pb.Part] = []
    messages: Messages = []
    if record.status in TERMINAL:
        end = await runs.newest_entry(context, task.id.thread_id, record.spec.run_id)
        told = msgspec.json.decode(
            await runs.final_output(context, task.id.thread_id, record.spec.run_id, end)
        )
        values = told if isinstance(told, dict) else {}
        if "__error__" in values:
            said = [pb.Part(text=str(values["__error__"].get("message", "")))]
        elif questions:
            said = asked(questions)
        found = values.get("messages")
        messages = (
            [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        )
    result = pb.Task(id=str(task.id), context_id=task.context_id, status=status(task, state, said))
    result.status.timestamp.FromMicroseconds(record.updated_at)
    begins, ends = _turn(messages, task)
    if state == pb.TASK_STATE_COMPLETED and (made := _artifact(messages[begins:ends])):
        result.artifacts.append(made)
    spoken = _spoken(messages[begins:ends] if scope == "task" else messages[:ends], task)
    result.history.extend(spoken if history is None else spoken[len(spoken) - history :][:history])
    return result


def _turn(messages: Messages, task: Task) -> tuple[int, int]:
    """Returns where the messages of a task begin and end among those of its context.

    They begin with the message that the client sent, if that is known and still there, else with the user's last
    one, and end before the one with which another task began: a user's answers may be among them.
    """
    ids = [each.get("id") for each in messages]
    by_user = [n for n, each in enumerate(messages) if each.get("type") == "human"]
    named = [n for n in by_user if ids[n] == task.metadata.get(MESSAGE)]
    begins = named[-1] if named else by_user[-1] if by_user else 0
    return begins, next((n for n in by_user if n > begins and ids[n] in task.others), len(messages))


def _artifact(turn: Messages) -> pb.Artifact | None:
    """Returns the newest answer of an agent that says something."""
    for each in reversed(turn):
        if each.get("type") == "ai" and (parts := parts_of(each.get("content"))):
            return artifact(str(each.get("id")), parts)
    return None


def _spoken(messages: Messages, task: Task) -> list[pb.Message]:
    roles = {"ai": pb.ROLE_AGENT, "human": pb.ROLE_USER}
    return [
        message(task, roles[each["type"]], parts, str(each.get("id")))
        for each in messages
        if each.get("type") in roles and (parts := parts_of(each.get("content")))
    ]


def asked(questions: list[Question]) -> list[pb.Part]:
    """Returns what interrupts ask: as text for people, and as data by the ids that answers may name."""
    texts = [
        each.value if isinstance(each.value, str) else msgspec.json.encode(each.value).decode()
        for each in questions
    ]
    listed = [{"id": each.id, "value": each.value} for each in questions]
    return [pb.Part(text="\n".join(texts)), data_part({"interrupts": listed})]


def status(task: Task, state: "pb.TaskState", said: list[pb.Part]) -> pb.TaskStatus:
    """Returns a status, which says something if there are parts to say."""
    result = pb.TaskStatus(state=state)
    result.timestamp.GetCurrentTime()
    if said:
        message_id = f"{task.record.spec.run_id}:{state}"
        result.message.CopyFrom(message(task, pb.ROLE_AGENT, said, message_id))
    return result


def message(task: Task, role: "pb.Role", parts: list[pb.Part], message_id: str) -> pb.Message:
    """Returns a message of a task."""
    return pb.Message(message_id=message_id, role=role, parts=parts, **task.ids)


def artifact(artifact_id: str, parts: list[pb.Part]) -> pb.Artifact:
    """Returns what an agent answers."""
    return pb.Artifact(artifact_id=artifact_id, name="response", parts=parts)
