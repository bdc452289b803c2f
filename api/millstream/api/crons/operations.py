"""The use cases of crons: create, change, read, find, delete."""

import uuid
from typing import Any, Final

import msgspec

from millstream.api.context import RequestContext
from millstream.api.crons.schemas import (
    PAYLOAD,
    CronCreate,
    CronFilter,
    CronPatch,
    CronRun,
)
from millstream.api.runs.admission import require_webhooks
from millstream.api.runs.schemas import RunCreateStateful, RunCreateStateless
from millstream.shared import crons, queue
from millstream.shared.crons import DISABLED_BECAUSE, CronRecord
from millstream.shared.errors import InvalidError, NotFoundError
from millstream.shared.rules.run_metadata import trim_run_metadata
from millstream.shared.runs.json_view import iso_time
from millstream.shared.runs.submission import check_webhook
from millstream.shared.wire import Cron, RunRequest, to_json

MAX_PAYLOAD_BYTES: Final = 64 * 1024  # of JSON
MAX_METADATA_BYTES: Final = 16 * 1024  # of JSON; every search reads it


# ── Create ──────────────────────────────────────────────────────────────────────────────────


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
    resolved = await context.directory.resolve(body.assistant_id)
    cron = Cron(
        cron_id=str(uuid.uuid4()),
        assistant_id=resolved.assistant.assistant_id,
        thread_id=thread_id,
        schedule=body.schedule,
        timezone=body.timezone,
        end_time=None if body.end_time is None else round(body.end_time.timestamp() * 1_000_000),
        enabled=body.enabled,
        on_run_completed=on_run_completed,
        metadata=to_json(body.metadata),
    )
    await _check_end(context, cron)
    await _check_webhook(context, body.webhook)
    payload, request = _payload(cron, _run_fields(body))
    return await crons.create(context.redis, cron, payload, context.traced(request))


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


async def _check_end(context: RequestContext, cron: Cron) -> None:
    now = await queue.redis_time(context.redis)
    if cron.end_time is not None and cron.end_time / 1e6 <= now:
        raise InvalidError(f"end_time: {iso_time(cron.end_time)} is in the past")


async def _check_webhook(context: RequestContext, url: str | None) -> None:
    require_webhooks(context, url)
    check_webhook(url, await context.directory.project())


# ── Change and delete ───────────────────────────────────────────────────────────────────────


async def patch(context: RequestContext, cron_id: str, body: CronPatch) -> CronRecord:
    """Changes the fields that the body has, and merges metadata. Raises what `create` raises.

    Its runs stay those of its creator: else a creator could act as the user that changes it.
    """
    await _check_webhook(context, body.webhook)
    creator = await crons.get_creator(context.redis, cron_id)
    for _ in range(crons.TRIES):
        record = await get(context, cron_id)
        cron = _apply_patch(record, body)
        if cron.end_time is not None and ("end_time" in body.model_fields_set or body.enabled):
            await _check_end(context, cron)
        payload, request = _payload(cron, _stored_fields(record) | _run_fields(body))
        request = msgspec.structs.replace(context.traced(request), user=creator)
        if await crons.change(context.redis, record, cron, payload, request):
            return await get(context, cron_id)
    raise crons.changed_too_often_error(cron_id)


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


async def delete(context: RequestContext, cron_id: str) -> None:
    """Deletes a cron. Its runs and their threads stay. Raises NotFoundError."""
    await crons.delete(context.redis, cron_id)


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(context: RequestContext, cron_id: str) -> CronRecord:
    """Returns a cron. Raises NotFoundError."""
    return await crons.get(context.redis, cron_id)


async def find(context: RequestContext, query: CronFilter) -> list[CronRecord]:
    """Returns the crons that match, in no order and without their payloads."""
    matching = crons.CronFilter(
        assistant_id=query.assistant_id and await _assistant(context, query.assistant_id),
        thread_id=query.thread_id,
        enabled=query.enabled,
        metadata=query.metadata,
    )
    return await crons.find(context.redis, matching)


async def read_payloads(context: RequestContext, records: list[CronRecord]) -> list[CronRecord]:
    """Returns the crons of a search with their payloads."""
    return await crons.read_payloads(context.redis, records)


async def _assistant(context: RequestContext, name: str) -> str:
    """Returns the assistant's id. A deleted assistant may still have crons, so an unknown name is an id."""
    try:
        return (await context.directory.resolve(name)).assistant.assistant_id
    except (NotFoundError, InvalidError):
        return name
