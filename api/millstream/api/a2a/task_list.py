"""Lists an agent's tasks by page, of one context or of all, the newest first."""

import asyncio
import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidParamsError

from millstream.api.a2a import tasks
from millstream.api.a2a.tasks import Question, Task
from millstream.api.context import RequestContext
from millstream.api.runs import operations as runs
from millstream.api.threads import operations as threads
from millstream.shared.errors import NotFoundError
from millstream.shared.rules.lifecycle import ThreadStatus
from millstream.shared.threads import ThreadRecord
from millstream.shared.threads.search import ThreadFilter

MAX_CONTEXTS: Final = 1000  # the newest; tasks of older ones are listed by their context only
CONCURRENT_READS: Final = 20  # of contexts
DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 100


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the tasks."""

    tasks: list[Task]
    total: int  # on all pages
    next: str  # the token of the next page, '' for the last page


async def read_page(
    context: RequestContext, params: pb.ListTasksRequest, assistant_id: str
) -> Page:
    """Returns the requested page of the assistant's tasks. Raises InvalidParamsError."""
    size = params.page_size if params.HasField("page_size") else DEFAULT_PAGE_SIZE
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise InvalidParamsError(message=f"pageSize: must be 1 to {MAX_PAGE_SIZE}")
    after = _position(params.page_token) if params.page_token else None
    since = _microseconds(params) if params.HasField("status_timestamp_after") else 0
    matching = [
        task
        for task, questions in await _tasks(context, params.context_id, assistant_id)
        if params.status in (0, tasks.state_of(task.record, questions))
        and task.record.updated_at >= since
    ]
    matching.sort(key=_sort_key, reverse=True)
    rest = [task for task in matching if after is None or _sort_key(task) < after]
    page = rest[:size]
    more = len(rest) > size
    return Page(page, len(matching), _token(page[-1]) if more else "")


async def _tasks(
    context: RequestContext, context_id: str, assistant_id: str
) -> list[tuple[Task, list[Question]]]:
    """Returns all tasks of the context, or of the newest contexts, with their interrupts."""
    if context_id:
        try:
            thread_id = tasks.thread_of(context_id, assistant_id)
            contexts = [await threads.get(context, thread_id)]
        except NotFoundError:
            contexts = []
    else:
        query = ThreadFilter(metadata={"assistant_id": assistant_id}, sort_by="updated_at")
        contexts = (await threads.find(context, query, limit=MAX_CONTEXTS)).records
    tasks_found = []
    for at in range(0, len(contexts), CONCURRENT_READS):
        batch = contexts[at : at + CONCURRENT_READS]
        for tasks_of_context in await asyncio.gather(
            *(_tasks_of(context, each, assistant_id) for each in batch)
        ):
            tasks_found += tasks_of_context
    return tasks_found


async def _tasks_of(
    context: RequestContext, thread: ThreadRecord, assistant_id: str
) -> list[tuple[Task, list[Question]]]:
    records = await runs.newest_runs(context, thread.thread_id, limit=tasks.RUNS)
    questions: dict[str, list[Question]] = {}  # by the paused run
    if records and thread.status is ThreadStatus.INTERRUPTED:
        questions[records[0].spec.run_id] = tasks.questions_in(
            await threads.interrupts(context, thread.thread_id)
        )
    return [
        (task, questions.get(task.record.spec.run_id, []))
        for task in tasks.tasks_of(records, assistant_id).values()
    ]


def _sort_key(task: Task) -> tuple[int, str]:
    return task.record.updated_at, str(task.id)


def _token(task: Task) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_sort_key(task))).decode()


def _position(token: str) -> tuple[int, str]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[int, str])
    except (binascii.Error, msgspec.MsgspecError, UnicodeError, ValueError):
        raise InvalidParamsError(
            message="pageToken: invalid; use the nextPageToken of an earlier page"
        ) from None


def _microseconds(params: pb.ListTasksRequest) -> int:
    at = params.status_timestamp_after.ToDatetime(UTC)
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
