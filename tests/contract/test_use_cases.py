"""The API's use cases without HTTP: a process on a real Redis, a caller, and a recording observer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from contract.builders import take
from millstream.api.caller import Caller
from millstream.api.context import RequestContext
from millstream.api.process import open_process
from millstream.api.runs import admission, end_operations, operations
from millstream.api.runs.follow import entries_of, invoke
from millstream.api.threads import delete_operations
from millstream.api.threads import operations as threads
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import scripts
from millstream.shared.assistants import announce
from millstream.shared.errors import InvalidError, NotFoundError, OverloadedError
from millstream.shared.events.entries import START
from millstream.shared.langgraph_json.http import HttpSettings
from millstream.shared.observer import RunObserver
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, RunStatus
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.runs import live_runs
from millstream.shared.settings import Settings
from millstream.shared.wire import GraphInfo, RunRequest, RunSpec

ECHO = RunRequest(assistant_id="echo", creates_thread=True)


class Noting(RunObserver):
    """Records its calls, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str | None]] = []

    def admitted(self, spec: RunSpec, delay_ms: int) -> None:
        self.heard.append(("admitted", spec.run_id))

    def rejected(self, assistant_id: str, error: Exception, spec: RunSpec | None = None) -> None:
        self.heard.append(("rejected", assistant_id))

    def stream_opened(self, thread_id: str, run_id: str | None) -> None:
        self.heard.append(("opened", run_id))

    def stream_closed(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        self.heard.append(("closed", run_id))

    def first_event(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        self.heard.append(("first event", run_id))


@pytest.fixture
def observer() -> Noting:
    return Noting()


@pytest.fixture
async def context(
    real_redis: Client, redis_server: EmbeddedRedis, observer: Noting
) -> AsyncIterator[RequestContext]:
    await announce(real_redis, [GraphInfo(graph_id="echo", queue="default")])
    settings = Settings(redis_url=redis_server.url.rpartition("/")[0] + "/1", max_live=3)
    async with open_process(settings, HttpSettings(), observer) as running:
        yield RequestContext(running, Caller())


async def end(redis: Client, spec: RunSpec) -> None:
    claim = await take(redis, spec)
    await scripts.finish(redis, spec, Cause.SUCCEEDED, fence=claim.fence, stream_ttl=60)


async def test_a_callers_headers_go_into_the_runs_it_admits(context: RequestContext) -> None:
    caller = Caller(run_headers={"x-tenant": "blue"})
    record = await admission.admit(RequestContext(context.process, caller), ECHO)
    assert record.spec.caller_headers == {"x-tenant": "blue"}
    assert b"x-tenant" not in record.spec.kwargs
    record_read = await operations.get(context, record.spec.thread_id, record.spec.run_id)
    assert (record_read.status, record_read.spec) == (RunStatus.PENDING, record.spec)


async def test_a_run_is_followed_from_its_first_event_to_its_end(
    context: RequestContext, real_redis: Client, observer: Noting
) -> None:
    async with invoke(context, ECHO) as run:
        await end(real_redis, run.record.spec)
        events = [entry.event async for entry in entries_of(run)]
        assert (events[0], events[-1]) == (b"metadata", b"end")
    assert observer.heard == [
        ("admitted", run.run_id),
        ("opened", run.run_id),
        ("first event", run.run_id),
        ("closed", run.run_id),
    ]


async def test_of_a_batch_that_is_not_admitted_no_run_is_left(
    context: RequestContext, observer: Noting
) -> None:
    with pytest.raises(OverloadedError):
        await admission.admit_batch(context, [ECHO] * 4)
    assert [what for what, _ in observer.heard] == ["admitted"] * 3 + ["rejected"]
    assert await live_runs(context.process.redis) == []
    assert len(await admission.admit_batch(context, [ECHO] * 3)) == 3


async def test_of_a_batch_with_an_invalid_request_none_is_admitted(
    context: RequestContext, observer: Noting
) -> None:
    unknown = RunRequest(assistant_id="nothing", creates_thread=True)
    with pytest.raises(InvalidError, match=r"^1: "):
        await admission.admit_batch(context, [ECHO, unknown])
    assert observer.heard == [("rejected", "nothing")]
    assert await live_runs(context.process.redis) == []


async def test_deletion_waits_for_the_end_of_a_claimed_run(
    context: RequestContext, real_redis: Client
) -> None:
    record = await admission.admit(context, ECHO)
    thread_id, run_id = record.spec.thread_id, record.spec.run_id
    claim = await take(real_redis, record.spec)
    deletion = asyncio.create_task(end_operations.delete(context, thread_id, run_id))
    followed = await operations.join(context, thread_id, run_id, START)
    followed.reader.close()
    assert not deletion.done()
    await scripts.finish(real_redis, record.spec, Cause.CANCELLED, fence=claim.fence, stream_ttl=60)
    await deletion
    with pytest.raises(NotFoundError):
        await operations.get(context, thread_id, run_id)


async def test_a_client_that_left_cancels_its_run(context: RequestContext) -> None:
    followed = await admission.admit_and_follow(context, ECHO)
    followed.reader.close()
    await end_operations.cancel_on_leave(context, followed)()
    record = await operations.get(context, followed.thread_id, followed.run_id)
    assert (record.status, record.cancel_reason) == (RunStatus.INTERRUPTED, "disconnect")
    with pytest.raises(NotFoundError, match="has ended"):
        await end_operations.cancel(
            context, followed.thread_id, followed.run_id, CancelAction.INTERRUPT
        )


async def test_a_thread_goes_with_its_runs(context: RequestContext) -> None:
    thread = await threads.create(context, None, {"a": 1}, if_exists="raise", ttl=None)
    request: Any = msgspec.structs.replace(ECHO, creates_thread=False)
    record = await admission.admit(context, request, thread.thread_id)
    await delete_operations.delete(context, thread.thread_id)
    assert await operations.find(context, thread.thread_id, record.spec.run_id) is None
    with pytest.raises(NotFoundError):
        await threads.get(context, thread.thread_id)
