"""The use cases of crons: create, change, read, find, delete."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from millstream.api.assistants.permits import permit_assistant
from millstream.api.auth.permits import Permit, rejudged
from millstream.api.context import RequestContext
from millstream.api.crons.schemas import (
    PAYLOAD,
    CronCreate,
    CronFilter,
    CronPatch,
    CronRun,
)
from millstream.api.runs.admission import permit_run_creation, require_webhooks
from millstream.api.runs.schemas import RunCreateStateful, RunCreateStateless
from millstream.shared import crons, queue
from millstream.shared.assistants import Resolved
from millstream.shared.crons import DISABLED_BECAUSE, CronRecord
from millstream.shared.errors import InvalidError, NotFoundError
from millstream.shared.rules.run_metadata import trim_run_metadata
from millstream.shared.runs import stateless_thread_id
from millstream.shared.runs.json_view import iso_time
from millstream.shared.runs.submission import check_webhook, submission
from millstream.shared.wire import Cron, RunRequest, to_json

Body = TypeVar("Body", bound=CronRun)
MAX_PAYLOAD_BYTES: Final = 64 * 1024  # of JSON
MAX_METADATA_BYTES: Final = 16 * 1024  # of JSON; every search reads it


# ── Create ──────────────────────────────────────────────────────────────────────────────────


@rejudged
async def create(
    context: RequestContext, body: CronCreate, thread_id: str | None, on_run_completed: str | None
) -> CronRecord:
    """Creates a cron whose runs are on one thread. Without a thread, each run gets a new one.

    Args:
        context: of the request.
        body: the runs and their schedule.
        thread_id: the thread of all runs, which need not exist yet.
        on_run_completed: "delete" or "keep" for the new thread of each run.

    Raises:
        InvalidError, pydantic.ValidationError: its runs would be invalid, or none would ever be due.
        NotFoundError: there is no such assistant.
    """
    resolved = await permit_assistant(context, body.assistant_id)
    cron_id = str(uuid.uuid4())
    permit = await _permit_create(context, body, cron_id, thread_id)
    body = _as_left(body, permit, ("schedule", "end_time"))
    cron = Cron(
        cron_id=cron_id,
        assistant_id=resolved.assistant.assistant_id,
        thread_id=thread_id,
        schedule=body.schedule,
        timezone=body.timezone,
        end_time=None if body.end_time is None else round(body.end_time.timestamp() * 1_000_000),
        enabled=body.enabled,
        on_run_completed=on_run_completed,
        metadata=to_json(permit.stamp(body.metadata)),
    )
    await _check_end(permit, cron)
    await _check_webhook(context, body.webhook)
    payload, request = _payload(cron, _run_fields(body))
    request = context.traced(request)
    guard = await _permit_runs(context, resolved, cron, request)
    return await crons.create(permit.redis, cron, payload, request, guard=guard)


async def _permit_create(
    context: RequestContext, body: CronCreate, cron_id: str, thread_id: str | None
) -> Permit:
    """Returns the permit to create a cron, with its metadata as the decider left it."""
    value = {
        "cron_id": cron_id,
        "thread_id": thread_id,
        "user_id": None if context.caller.user is None else context.caller.user.identity,
        "schedule": body.schedule,
        "end_time": body.end_time,
        "payload": _run_fields(body),
        "metadata": dict(body.metadata),
    }
    return await context.authorize("crons.create", value)


async def _permit_runs(
    context: RequestContext, resolved: Resolved, cron: Cron, request: RunRequest
) -> str:
    """Returns the guard of the cron's thread. Raises what an admission of one of its runs would raise.

    Each run is decided again as it fires.
    """
    run_id = str(uuid.uuid4())
    project = await context.as_server().directory.project()
    thread_id = cron.thread_id or stateless_thread_id(run_id)
    submitted = submission(request, resolved, project, run_id=run_id, thread_id=thread_id)
    return (await permit_run_creation(context, request, submitted)).guard


def _as_left(body: Body, permit: Permit, names: Sequence[str]) -> Body:
    """Returns the request as the decider left its metadata, its runs' fields and those that `names` has.

    Raises pydantic's ValidationError if that is invalid.
    """
    payload = permit.value.get("payload")
    left: dict[str, Any] = {
        "metadata": permit.metadata,
        **(payload if isinstance(payload, dict) else {}),
    }
    left |= {name: permit.value[name] for name in names if name in permit.value}
    before = {**_run_fields(body), **{name: getattr(body, name) for name in ("metadata", *names)}}
    changed = {
        name: value for name, value in left.items() if name not in before or value != before[name]
    }
    if not changed:
        return body
    return type(body).model_validate({**body.model_dump(exclude_unset=True), **changed})


def _run_fields(body: CronRun) -> dict[str, Any]:
    """Returns the fields of the cron's runs that the client set."""
    fields: dict[str, Any] = body.model_dump(include=set(PAYLOAD), exclude_unset=True)
    return fields


def _payload(cron: Cron, fields: dict[str, Any]) -> tuple[bytes, RunRequest]:
    """Returns the payload for clients, and the request of the cron's runs.

    Raises InvalidError or pydantic's ValidationError for an invalid run, so that no run of the cron fails because
    its request is invalid.
    """
    config = fields.get("config", {})
    configurable = {**config.get("configurable", {}), "cron_id": cron.cron_id}
    payload = {
        "assistant_id": cron.assistant_id,
        "schedule": cron.schedule,
        **fields,
        "config": {**config, "configurable": configurable},
    }
    payload_json = _check_size("payload", to_json(payload), MAX_PAYLOAD_BYTES)
    _check_size("metadata", cron.metadata, MAX_METADATA_BYTES)
    metadata = trim_run_metadata({"cron_id": cron.cron_id} | _client_metadata(cron))
    body: dict[str, Any] = {**payload, "metadata": metadata}
    run = (
        RunCreateStateless.model_validate({**body, "on_completion": cron.on_run_completed})
        if cron.thread_id is None
        else RunCreateStateful.model_validate(body)
    )
    return payload_json, run.request()


def _client_metadata(cron: Cron) -> dict[str, Any]:
    """Returns the client's entries of the metadata, without the server's own."""
    metadata: dict[str, Any] = msgspec.json.decode(cron.metadata)
    return {k: v for k, v in metadata.items() if k not in ("cron_id", DISABLED_BECAUSE)}


def _check_size(field: str, data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise InvalidError(f"{field}: {len(data)} bytes as JSON; the limit is {limit}")
    return data


async def _check_end(permit: Permit, cron: Cron) -> None:
    now = await queue.redis_time(permit.redis)
    if cron.end_time is not None and cron.end_time / 1e6 <= now:
        raise InvalidError(f"end_time: {iso_time(cron.end_time)} is in the past")


async def _check_webhook(context: RequestContext, url: str | None) -> None:
    require_webhooks(context, url)
    check_webhook(url, await context.as_server().directory.project())


# ── Change and delete ───────────────────────────────────────────────────────────────────────


async def patch(context: RequestContext, cron_id: str, body: CronPatch) -> CronRecord:
    """Changes the fields that the body has, and merges metadata. Raises what `create` raises.

    Its runs stay those of its creator: else a creator could act as the user that changes it.
    """
    permit = await _permit_patch(context, cron_id, body)
    body = _as_left(body, permit, ("schedule", "end_time", "enabled", "on_run_completed"))
    await _check_webhook(context, body.webhook)
    for _ in range(crons.TRIES):
        record = _judge(permit, await crons.get(permit.redis, cron_id))
        cron = _apply_patch(record, body)
        permit.require(msgspec.json.decode(cron.metadata))
        if cron.end_time is not None and ("end_time" in body.model_fields_set or body.enabled):
            await _check_end(permit, cron)
        payload, request = _payload(cron, _stored_fields(record) | _run_fields(body))
        creator = await crons.get_creator(permit.redis, cron_id)
        request = msgspec.structs.replace(context.traced(request), user=creator)
        if await crons.change(permit.redis, record, cron, payload, request):
            return await crons.get(permit.redis, cron_id)
    raise crons.changed_too_often_error(cron_id)


async def _permit_patch(context: RequestContext, cron_id: str, body: CronPatch) -> Permit:
    value = {
        "cron_id": cron_id,
        "schedule": body.schedule,
        "end_time": body.end_time,
        "enabled": body.enabled,
        "on_run_completed": body.on_run_completed,
        "payload": _run_fields(body),
        "metadata": dict(body.metadata),
    }
    return await context.authorize("crons.update", value)


def _judge(permit: Permit, record: CronRecord) -> CronRecord:
    """Returns the cron. Raises NotFoundError if it is not one of those that the permit is for."""
    if not permit.allows(msgspec.json.decode(record.cron.metadata)):
        raise crons.not_found_error(record.cron.cron_id)
    return record


def _apply_patch(record: CronRecord, body: CronPatch) -> Cron:
    cron = record.cron
    if body.on_run_completed is not None and cron.thread_id is not None:
        raise InvalidError("on_run_completed: not valid for a cron on one thread, which stays")
    metadata = msgspec.json.decode(cron.metadata)
    if body.enabled:
        metadata.pop(DISABLED_BECAUSE, None)
    end_time = cron.end_time
    if "end_time" in body.model_fields_set:
        end_time = None if body.end_time is None else round(body.end_time.timestamp() * 1_000_000)
    return msgspec.structs.replace(
        cron,
        schedule=body.schedule or cron.schedule,
        timezone=body.timezone or cron.timezone,
        end_time=end_time,
        enabled=cron.enabled if body.enabled is None else body.enabled,
        on_run_completed=body.on_run_completed or cron.on_run_completed,
        metadata=to_json(metadata | body.metadata),
    )


def _stored_fields(record: CronRecord) -> dict[str, Any]:
    """Returns the fields of the cron's runs as they are stored."""
    payload = msgspec.json.decode(record.payload)
    return {name: value for name, value in payload.items() if name in PAYLOAD}


@rejudged
async def delete(context: RequestContext, cron_id: str) -> None:
    """Deletes a cron. Its runs and their threads stay. Raises NotFoundError."""
    permit = await context.authorize("crons.delete", {"cron_id": cron_id})
    record = _judge(permit, await crons.get(permit.redis, cron_id))
    await crons.delete(permit.redis, cron_id, record.version)


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(context: RequestContext, cron_id: str) -> CronRecord:
    """Returns a cron. Raises NotFoundError."""
    permit = await context.authorize("crons.read", {"cron_id": cron_id})
    return _judge(permit, await crons.get(permit.redis, cron_id))


@dataclass(frozen=True, slots=True)
class CronMatches:
    """The crons that match a search, in no order and without their payloads."""

    records: list[CronRecord]
    permit: Permit

    async def with_payloads(self, records: list[CronRecord]) -> list[CronRecord]:
        """Returns some of the crons with their payloads."""
        return await crons.read_payloads(self.permit.redis, records)


async def find(
    context: RequestContext, query: CronFilter, *, limit: int | None = None, offset: int = 0
) -> CronMatches:
    """Returns the crons that match. The page is for the decider alone."""
    value = {
        "assistant_id": query.assistant_id,
        "thread_id": query.thread_id,
        "metadata": query.metadata,
        "limit": limit,
        "offset": offset,
    }
    permit = await context.authorize("crons.search", value)
    assistant_id = permit.value.get("assistant_id")
    matching = crons.CronFilter(
        assistant_id=assistant_id and await _assistant(permit, assistant_id),
        thread_id=permit.value.get("thread_id"),
        enabled=query.enabled,
        metadata=permit.metadata,
    )
    matches = await crons.find(permit.redis, matching)
    allowed = [each for each in matches if permit.allows(msgspec.json.decode(each.cron.metadata))]
    return CronMatches(allowed, permit)


async def _assistant(permit: Permit, name: str) -> str:
    """Returns the assistant's id. A deleted assistant may still have crons, so an unknown name is an id."""
    try:
        return (await permit.directory.resolve(name)).assistant.assistant_id
    except (NotFoundError, InvalidError):
        return name
