"""The use cases that admit runs."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from millstream.api.assistants.permits import permit_assistant
from millstream.api.auth.permits import ThreadPermit, rejudged
from millstream.api.context import RequestContext
from millstream.api.runs.end_operations import request_cancel
from millstream.api.runs.operations import FollowedRun
from millstream.api.stream_watch import StreamWatch
from millstream.shared import logs, runs
from millstream.shared.errors import InvalidError, MillstreamError
from millstream.shared.events.entries import START
from millstream.shared.rules.multitask import CancelReason
from millstream.shared.runs import RunRecord, Submission
from millstream.shared.runs.authorization import authorize_run
from millstream.shared.runs.submission import submission
from millstream.shared.wire import RunRequest


async def admit(
    context: RequestContext,
    request: RunRequest,
    thread_id: str | None = None,
    *,
    answers: bytes | None = None,
) -> RunRecord:
    """Admits a run. Without a thread, the run gets a new one.

    Args:
        context: the caller's headers become part of the run's config.
        request: the run's input and options.
        thread_id: the thread, which must exist unless the request creates it.
        answers: the interrupts (JSON) on which the thread must still wait.

    Raises:
        InvalidError, NotFoundError: the request names something that does not exist.
        MillstreamError: other errors of `scripts.admit`.
    """
    await context.limits.take_runs(1)
    run_id, thread = _new_ids(thread_id)
    return await _admit(context, request, run_id, thread, answers)


async def admit_and_follow(
    context: RequestContext,
    request: RunRequest,
    thread_id: str | None = None,
    *,
    answers: bytes | None = None,
) -> FollowedRun:
    """Admits a run as `admit` does, and follows it from its first event."""
    context.limits.hold_stream()
    await context.limits.take_runs(1)
    run_id, thread = _new_ids(thread_id)
    watch = StreamWatch(context.observer, thread, run_id, begins_run=True)
    # Nobody else knows the run's id yet, so this reader gets nothing before the admission.
    reader = await context.as_server().hub.open(thread, run_id, START, fresh=True)
    try:
        record = await _admit(context, request, run_id, thread, answers)
    except BaseException:
        reader.close()
        raise
    permit = ThreadPermit(process=context.process, thread_id=thread)
    return FollowedRun(permit, record, reader, watch)


async def admit_batch(context: RequestContext, requests: Sequence[RunRequest]) -> list[RunRecord]:
    """Admits runs, each on a new thread: all of them, or none.

    All are checked before the first admission. If an admission fails, the runs before it are cancelled.
    The message about an invalid run begins with its number.
    """
    await context.limits.take_runs(len(requests))
    submissions = []
    for number, request in enumerate(requests):
        with _report_rejection(context, request):
            try:
                submissions.append(await _submission(context, request, *_new_ids(None)))
            except MillstreamError as error:
                error.args = (f"{number}: {error}",)  # its status and headers stay
                raise
    records: list[RunRecord] = []
    try:
        for request, submitted in zip(requests, submissions, strict=True):
            with _report_rejection(context, request, submitted):
                records.append(await _submit(context, submitted, batch=True))
    except BaseException:
        for record in records:
            spec = record.spec
            await request_cancel(
                context.as_server(), spec.thread_id, spec.run_id, reason=CancelReason.WITHDRAWN
            )
        raise
    return records


def require_webhooks(context: RequestContext, url: str | None) -> None:
    """Raises InvalidError for a webhook where langgraph.json has disabled them."""
    if url is not None and context.process.http.disable_webhooks:
        raise InvalidError("webhook: webhooks are disabled here (http.disable_webhooks)")


def _new_ids(thread_id: str | None) -> tuple[str, str]:
    """Returns the id of a new run and the id of its thread."""
    run_id = str(uuid.uuid4())
    return run_id, thread_id or runs.stateless_thread_id(run_id)


@rejudged
async def _admit(
    context: RequestContext, request: RunRequest, run_id: str, thread_id: str, answers: bytes | None
) -> RunRecord:
    with _report_rejection(context, request):
        submitted = await _submission(context, request, run_id, thread_id)
    with _report_rejection(context, request, submitted):
        return await _submit(context, replace(submitted, answers=answers))


async def _submission(
    context: RequestContext, request: RunRequest, run_id: str, thread_id: str
) -> Submission:
    """Returns the submission, from the current assistant and the current project, as the caller may admit it."""
    resolved = await permit_assistant(context, request.assistant_id)
    project = await context.as_server().directory.project()
    require_webhooks(context, request.options.webhook)
    submitted = submission(
        context.traced(request),
        resolved,
        project,
        run_id=run_id,
        thread_id=thread_id,
        headers=dict(context.caller.run_headers),
    )
    return await permit_run_creation(context, request, submitted)


async def permit_run_creation(
    context: RequestContext, request: RunRequest, submitted: Submission
) -> Submission:
    """Returns the submission as the caller may admit it. Raises what `authorize_run` raises."""
    if context.caller.user is None:
        await context.authorize("threads.create_run", {})
        return submitted
    redis = context.as_server().redis
    return await authorize_run(redis, context.authorize, request, submitted)


async def _submit(
    context: RequestContext, submitted: Submission, *, batch: bool = False
) -> RunRecord:
    with context.tracer.admission(submitted.spec, batch=batch) as spec:
        record = await runs.submit(
            context.as_server().redis,
            replace(submitted, spec=spec),
            stream_ttl=context.settings.stream_ttl,
            limits=context.settings.admission_limits,
        )
    if not batch:
        logs.bind_run(record.spec)
    context.observer.admitted(record.spec, submitted.delay_ms)
    return record


@contextmanager
def _report_rejection(
    context: RequestContext, request: RunRequest, submitted: Submission | None = None
) -> Iterator[None]:
    """Reports an error inside of the block as the rejection of the request, or of the run that it stands for."""
    try:
        yield
    except Exception as error:
        spec = None if submitted is None else submitted.spec
        context.observer.rejected(request.assistant_id, error, spec)
        raise
