"""Whether a user may admit a run, and what its decider makes of the run."""

from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from millstream.shared import threads
from millstream.shared.access import (
    ABSENT,
    NO_GUARD,
    Authorizer,
    Decide,
    Decision,
    guard_of,
    unpack_user,
)
from millstream.shared.errors import ForbiddenError, InvalidError, NotFoundError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import Strategy
from millstream.shared.runs import Submission, stateless_thread_id
from millstream.shared.wire import RunRequest, RunSpec, to_json, unpack_kwargs


async def authorize_run(
    redis: Client, decide: Decide, request: RunRequest, submitted: Submission
) -> Submission:
    """Returns the submission as the decider left it, with the guard of its thread.

    A run on a thread that does not exist creates it, for which the user needs the right too. A run without a thread of
    its client's creates one, whose metadata has what the decider added to the run's.

    Raises:
        AccessError: the user may not do this.
        NotFoundError: the thread does not exist, or is not one of the user's.
        InvalidError: the decider has left an invalid run.
    """
    spec = submitted.spec
    is_stateless = spec.thread_id == stateless_thread_id(spec.run_id)
    value = question_of(spec, request, thread_id=None if is_stateless else spec.thread_id)
    before = msgspec.json.decode(spec.metadata)
    decision = await decide("threads.create_run", value)
    submitted = _as_left(submitted, before, decision)
    if is_stateless:
        added = {name: item for name, item in decision.metadata.items() if before.get(name) != item}
        return _with_new_thread(submitted, decision.stamp(added), guard=NO_GUARD)
    judged = await threads.read_metadata(redis, spec.thread_id)
    if judged is not None:
        if not decision.allows(judged.metadata):
            raise _missing()
        guard = NO_GUARD if decision.filter is None else guard_of(judged.stored)
        return replace(submitted, guard=guard)
    if submitted.new_thread is None:
        raise _missing()
    value = {"thread_id": spec.thread_id, "metadata": {}, "if_exists": "do_nothing"}
    creation = await decide("threads.create", value)
    metadata = decision.stamp(creation.stamp(creation.metadata))
    creation.require(metadata)
    return _with_new_thread(submitted, metadata, guard=ABSENT)


async def as_creator(
    redis: Client, authorizer: Authorizer | None, request: RunRequest, submitted: Submission
) -> Submission:
    """Returns the submission of a cron's run, as the cron's creator may admit it now; see `authorize_run`.

    Without a user in the request, the cron was created without authentication: nothing is decided.
    """
    user = unpack_user(request.user)
    if user is None:
        return submitted
    if authorizer is None:
        raise ForbiddenError("Nothing decides on the rights of its creator here.")
    return await authorize_run(redis, partial(authorizer.decide, user), request, submitted)


def question_of(spec: RunSpec, request: RunRequest, *, thread_id: str | None) -> dict[str, Any]:
    """Returns the value of the question `threads.create_run`."""
    return {
        "thread_id": thread_id,
        "assistant_id": spec.assistant_id,
        "run_id": spec.run_id,
        "status": str(RunStatus.PENDING),
        "metadata": msgspec.json.decode(spec.metadata),
        "prevent_insert_if_inflight": spec.strategy == Strategy.REJECT,
        "multitask_strategy": str(spec.strategy),
        "if_not_exists": "create" if request.creates_thread else "reject",
        "after_seconds": request.after_seconds,
        "kwargs": msgspec.json.decode(spec.kwargs),
    }


def _as_left(submitted: Submission, before: dict[str, Any], decision: Decision) -> Submission:
    """Returns the submission with the metadata, the request, the strategy and the delay as the decider left them."""
    spec, metadata, kwargs = submitted.spec, decision.metadata, decision.value.get("kwargs")
    ids = {"graph_id": spec.graph_id, "assistant_id": spec.assistant_id}
    changed = spec
    if metadata != before:
        changed = msgspec.structs.replace(changed, metadata=to_json({**metadata, **ids}))
    if kwargs != msgspec.json.decode(spec.kwargs):
        packed = to_json(kwargs)
        try:
            unpack_kwargs(packed)
        except msgspec.DecodeError as error:
            raise InvalidError(f"kwargs: as the authorization left them, {error}") from None
        changed = msgspec.structs.replace(changed, kwargs=packed)
    try:
        strategy = Strategy(str(decision.value["multitask_strategy"]))
        delay_ms = round(float(decision.value["after_seconds"]) * 1000)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InvalidError(
            "multitask_strategy, after_seconds: invalid, as the authorization left them"
        ) from None
    if strategy != spec.strategy:
        changed = msgspec.structs.replace(changed, strategy=strategy)
    return replace(submitted, spec=changed, delay_ms=max(delay_ms, 0))


def _with_new_thread(submitted: Submission, metadata: dict[str, Any], *, guard: str) -> Submission:
    fields = submitted.new_thread
    if fields is not None:
        fields = {**fields, **threads.metadata_fields(metadata)}
    return replace(submitted, new_thread=fields, guard=guard)


def _missing() -> NotFoundError:
    return NotFoundError("Thread or assistant not found.")
