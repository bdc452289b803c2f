"""Tasks of an agent, found and listed: of one context, or of all, the newest first, a page at a time."""

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

CONTEXTS: Final = 1000  # that were used last: the tasks of others are listed by their context alone
AT_ONCE: Final = 20  # contexts that are read at a time
PAGE: Final = 50
LARGEST_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the tasks."""

    tasks: list[Task]
    total: int
    next: str  # the token of the page behind it, '' behind the last one


async def page_of(context: RequestContext, params: pb.ListTasksRequest, assistant_id: str) -> Page:
    """Returns the page that is asked for, of the assistant's tasks; raises InvalidParamsError."""
    size = params.page_size if params.HasField("page_size") else PAGE
    if not 1 <= size <= LARGEST_PAGE:
        raise InvalidParamsError(message=f"pageSize: must be 1 to {LARGEST_PAGE}")
    after = _position(params.page_token) if params.page_token else None
    since = _microseconds(params) if params.HasField("status_timestamp_after") else 0
    found = [
        task
        for task, questions in await _tasks(context, params.context_id, assistant_id)
        if params.status in (0, tasks.state_of(task.record, questions))
        and task.record.updated_at >= since
    ]
    found.sort(key=_place, reverse=True)
    rest = [task for task in found if after is None or _place(task) < after]
    page = rest[:size]
    more = len(rest) > size
    return Page(page, len(found), _token(page[-1]) if more else "")


async def _tasks(
    context: RequestContext, context_id: str, assistant_id: str
) -> list[tuple[Task, list[Question]]]:
    """Returns all tasks of the context, or of those used last, and what each waits for."""
    if context_id:
        try:
            thread_id = tasks.thread_of(context_id, assistant_id)
            contexts = [await threads.get(context, thread_id)]
        except NotFoundError:
            contexts = []
    else:
        wanted = ThreadFilter(metadata={"assistant_id": assistant_id}, sort_by="updated_at")
        contexts = (await threads.find(context, wanted, limit=CONTEXTS)).records
    found = []
    for at in range(0, len(contexts), AT_ONCE):
        some = contexts[at : at + AT_ONCE]
        for some_tasks in await asyncio.gather(
            *(_of(context, each, assistant_id) for each in some)
        ):
            found += some_tasks
    return found


async def _of(
    context: RequestContext, thread: ThreadRecord, assistant_id: str
) -> list[tuple[Task, list[Question]]]:
    records = await runs.list_runs(context, thread.thread_id, limit=tasks.RUNS)
    waits: dict[str, list[Question]] = {}  # by the run that paused
    if records and thread.status is ThreadStatus.INTERRUPTED:
        waits[records[0].spec.run_id] = tasks.questions_in(
            await threads.interrupts(context, thread.thread_id)
        )
    return [
        (task, waits.get(task.record.spec.run_id, []))
        for task in tasks.of_context(records, assistant_id).values()
    ]


def _place(task: Task) -> tuple[int, str]:
    return task.record.updated_at, str(task.id)


def _token(task: Task) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_place(task))).decode()


def _position(token: str) -> tuple[int, str]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[int, str])
    except (binascii.Error, msgspec.MsgspecError, UnicodeError, ValueError):
        raise InvalidParamsError(message="pageToken: it is none of this server's") from None


def _microseconds(params: pb.ListTasksRequest) -> int:
    at = params.status_timestamp_after.ToDatetime(UTC)
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
