"""Runs as tasks of A2A: their ids, states, artifacts and history."""

import base64
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidParamsError, TaskNotFoundError
from google.protobuf.json_format import MessageToDict
from starlette.requests import HTTPConnection

from millstream.api.body import canonical_uuid
from millstream.shared import runs, threads
from millstream.shared.lifecycle import TERMINAL, RunStatus
from millstream.shared.redis import Client
from millstream.shared.runs import RunRecord

TASK: Final = "a2a_task"  # in the metadata of a run: the task that it goes on with
RUNS: Final = 100  # of a thread that are looked at for those of a task
STATES: Final = {
    RunStatus.PENDING: pb.TASK_STATE_SUBMITTED,
    RunStatus.RUNNING: pb.TASK_STATE_WORKING,
    RunStatus.SUCCESS: pb.TASK_STATE_COMPLETED,
    RunStatus.ERROR: pb.TASK_STATE_FAILED,
    RunStatus.TIMEOUT: pb.TASK_STATE_FAILED,
    RunStatus.INTERRUPTED: pb.TASK_STATE_CANCELED,
}


@dataclass(frozen=True, slots=True)
class TaskId:
    """A task: the thread that is its context, and the run that it began with."""

    thread_id: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.thread_id}:{self.run_id}"


def parse_task_id(text: str) -> TaskId:
    """Returns the id's parts; raises TaskNotFoundError for an id that no task can have."""
    thread_id, _, run_id = text.partition(":")
    parts = canonical_uuid(thread_id), canonical_uuid(run_id)
    if parts[0] is None or parts[1] is None:
        raise TaskNotFoundError
    return TaskId(parts[0], parts[1])


def task_of(record: RunRecord) -> TaskId:
    """Returns the task that a run belongs to."""
    named = msgspec.json.decode(record.spec.metadata).get(TASK)
    if isinstance(named, str):
        return parse_task_id(named)
    return TaskId(record.spec.thread_id, record.spec.run_id)


async def newest_run(redis: Client, task: TaskId, assistant_id: str) -> RunRecord:
    """Returns the run with which the task went on last; raises TaskNotFoundError."""
    found = await runs.list_runs(redis, task.thread_id, limit=RUNS, offset=0, status=None)
    for record in found:
        if record.spec.assistant_id == assistant_id and task_of(record) == task:
            return record
    raise TaskNotFoundError


async def shown(
    request: HTTPConnection, task: TaskId, record: RunRecord, history: int | None
) -> pb.Task:
    """Returns the task as it is now, with so many messages of its history (None: all)."""
    redis: Client = request.app.state.redis
    state, said = STATES[record.status], ""
    values: dict[str, Any] = {}
    if record.status in TERMINAL:
        end = await request.app.state.hub.newest(task.thread_id, record.spec.run_id)
        output = end.output if end is not None else None
        told = msgspec.json.decode(
            await runs.final_output(redis, task.thread_id, record.spec.run_id, output)
        )
        values = told if isinstance(told, dict) else {}
        said = values.get("__error__", {}).get("message", "")
        questions = await _questions(redis, record)
        if record.status is RunStatus.SUCCESS and questions:
            state, said = pb.TASK_STATE_INPUT_REQUIRED, "\n".join(questions)
    messages = [each for each in values.get("messages") or [] if isinstance(each, dict)]
    result = pb.Task(id=str(task), context_id=task.thread_id, status=status(state, task, said))
    result.status.timestamp.FromMicroseconds(record.updated_at)
    if state == pb.TASK_STATE_COMPLETED:
        answers = [each for each in messages if each.get("type") == "ai" and text_of(each)]
        if answers:
            result.artifacts.append(artifact(str(answers[-1].get("id")), text_of(answers[-1])))
    spoken = [each for each in messages if each.get("type") in ("ai", "human") and text_of(each)]
    for each in spoken if history is None else spoken[len(spoken) - min(history, len(spoken)) :]:
        role = pb.ROLE_AGENT if each["type"] == "ai" else pb.ROLE_USER
        result.history.append(message(role, text_of(each), task, str(each.get("id"))))
    return result


async def _questions(redis: Client, record: RunRecord) -> list[str]:
    """Returns what the thread waits for, if it was this run that paused."""
    newest = await runs.list_runs(redis, record.spec.thread_id, limit=1, offset=0, status=None)
    if not newest or newest[0].spec.run_id != record.spec.run_id:
        return []
    waiting = msgspec.json.decode(await threads.interrupts_of(redis, record.spec.thread_id))
    return [said(each["value"]) for of_task in waiting.values() for each in of_task]


def said(value: Any) -> str:
    """Returns a value as text: JSON, if it is none."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def status(state: int, task: TaskId, text: str = "") -> pb.TaskStatus:
    """Returns a status, which says something if there is a text."""
    result = pb.TaskStatus(state=state)  # type: ignore[arg-type]
    result.timestamp.GetCurrentTime()
    if text:
        result.message.CopyFrom(message(pb.ROLE_AGENT, text, task, f"{task}:{state}"))
    return result


def message(role: Any, text: str, task: TaskId, message_id: str) -> pb.Message:
    """Returns a message of one text."""
    return pb.Message(
        message_id=message_id,
        context_id=task.thread_id,
        task_id=str(task),
        role=role,
        parts=[pb.Part(text=text)],
    )


def artifact(artifact_id: str, text: str) -> pb.Artifact:
    """Returns what an agent answers."""
    return pb.Artifact(artifact_id=artifact_id, name="response", parts=[pb.Part(text=text)])


def text_of(told: dict[str, Any]) -> str:
    """Returns the text of a LangChain message."""
    content = told.get("content")
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(
        block if isinstance(block, str) else str(block.get("text", ""))
        for block in blocks
        if isinstance(block, str) or (isinstance(block, dict) and block.get("type") == "text")
    )


def content_of(given: pb.Message) -> Any:
    """Returns what a client says as the content of a LangChain message: a text, or blocks.

    Raises InvalidParamsError for a message that says nothing.
    """
    blocks = [_block(part) for part in given.parts]
    if not blocks:
        raise InvalidParamsError(message="message.parts: at least one part is needed")
    if all(block["type"] == "text" for block in blocks):
        return "\n".join(block["text"] for block in blocks)
    return blocks


def answer_of(given: pb.Message) -> Any:
    """Returns what a client answers to an interrupt: its data if that is all, else what it says."""
    if len(given.parts) == 1 and given.parts[0].HasField("data"):
        return MessageToDict(given.parts[0].data)
    return content_of(given)


def _block(part: pb.Part) -> dict[str, Any]:
    kind = part.WhichOneof("content")
    if kind == "text":
        return {"type": "text", "text": part.text}
    if kind == "data":
        return {"type": "text", "text": msgspec.json.encode(MessageToDict(part.data)).decode()}
    family = part.media_type.partition("/")[0]
    block: dict[str, Any] = {"type": family if family in ("image", "audio", "video") else "file"}
    if part.media_type:
        block["mime_type"] = part.media_type
    if kind == "url":
        return {**block, "url": part.url}
    if kind == "raw":
        return {**block, "base64": base64.b64encode(part.raw).decode()}
    raise InvalidParamsError(message="message.parts: a part needs text, data, a url or bytes")
