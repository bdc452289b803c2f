"""Crons: create, read, search, count, change, delete."""

import uuid
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from millstream.api.crons.schemas import (
    PAYLOAD,
    CronCreate,
    CronCreateStateful,
    CronCreateStateless,
    CronFilter,
    CronPatch,
    CronRun,
    CronSearch,
)
from millstream.api.http.body import answer, path_uuid, read_model
from millstream.api.http.json_views import show_cron
from millstream.api.http.pagination import page_headers
from millstream.api.runs.routes import refuse_webhook
from millstream.api.runs.run_request import run_request
from millstream.api.runs.schemas import RunCreateStateful, RunCreateStateless
from millstream.shared import crons, queue
from millstream.shared.assistants import GraphDirectory
from millstream.shared.crons import DISABLED_BECAUSE, CronRecord
from millstream.shared.errors import InvalidError, NotFoundError
from millstream.shared.redis import Client
from millstream.shared.rules.run_metadata import trim_run_metadata
from millstream.shared.runs.json_view import iso_time
from millstream.shared.runs.submission import check_webhook
from millstream.shared.wire import Cron, RunRequest, to_json

LARGEST_PAYLOAD: Final = 64 * 1024  # bytes of JSON
LARGEST_METADATA: Final = 16 * 1024  # bytes of JSON; every search reads it


# ── Create ──────────────────────────────────────────────────────────────────────────────────


async def create(request: Request) -> Response:
    """`POST /runs/crons`: a cron whose runs get a thread each."""
    body = await read_model(request, CronCreateStateless)
    return await _create(request, body, None, body.on_run_completed)


async def create_for_thread(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs/crons`: a cron whose runs are all on that thread."""
    thread_id = path_uuid(request, "thread_id", "thread")
    return await _create(request, await read_model(request, CronCreateStateful), thread_id, None)


async def _create(
    request: Request, body: CronCreate, thread_id: str | None, on_run_completed: str | None
) -> Response:
    resolved = await _directory(request).resolve(body.assistant_id)
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
    await _check_end(request, cron)
    refuse_webhook(request.app.state.http, body.webhook)
    check_webhook(body.webhook, await _directory(request).project())
    payload, asked = _payload(cron, _given(body))
    return answer(show_cron(await crons.create(_redis(request), cron, payload, asked)))


def _given(body: CronRun) -> dict[str, Any]:
    """Returns what the client said of the cron's runs."""
    given: dict[str, Any] = body.model_dump(include=set(PAYLOAD), exclude_unset=True)
    return given


def _payload(cron: Cron, given: dict[str, Any]) -> tuple[bytes, RunRequest]:
    """Returns the payload as it is shown, and the request that the cron's runs are made of.

    Raises InvalidError or pydantic's ValidationError for what would be refused of a run, so that no
    run of the cron fails for its form.
    """
    config = given.get("config", {})
    configurable = {**config.get("configurable", {}), "cron_id": cron.cron_id}
    payload = {
        "assistant_id": cron.assistant_id,
        "schedule": cron.schedule,
        **given,
        "config": {**config, "configurable": configurable},
    }
    shown = _bounded("payload", to_json(payload), LARGEST_PAYLOAD)
    _bounded("metadata", cron.metadata, LARGEST_METADATA)
    metadata = trim_run_metadata({"cron_id": cron.cron_id} | _own_metadata(cron))
    body: dict[str, Any] = {**payload, "metadata": metadata}
    run = (
        RunCreateStateless.model_validate({**body, "on_completion": cron.on_run_completed})
        if cron.thread_id is None
        else RunCreateStateful.model_validate(body)
    )
    return shown, run_request(run)


def _own_metadata(cron: Cron) -> dict[str, Any]:
    """Returns the client's part of the metadata, without what says things of the cron itself."""
    metadata: dict[str, Any] = msgspec.json.decode(cron.metadata)
    return {k: v for k, v in metadata.items() if k not in ("cron_id", DISABLED_BECAUSE)}


def _bounded(field: str, data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise InvalidError(f"{field}: it takes {len(data)} bytes as JSON; at most {most} are kept")
    return data


async def _check_end(request: Request, cron: Cron) -> None:
    now = await queue.redis_time(_redis(request))
    if cron.end_time is not None and cron.end_time / 1e6 <= now:
        raise InvalidError(f"end_time: {iso_time(cron.end_time)} is in the past")


# ── Change and delete ───────────────────────────────────────────────────────────────────────


async def patch(request: Request) -> Response:
    """`PATCH /runs/crons/{cron_id}`: changes what is given; metadata is merged."""
    cron_id = path_uuid(request, "cron_id", "cron")
    body = await read_model(request, CronPatch)
    redis = _redis(request)
    refuse_webhook(request.app.state.http, body.webhook)
    check_webhook(body.webhook, await _directory(request).project())
    for _ in range(crons.TRIES):
        record = await crons.get(redis, cron_id)
        cron = _patched(record, body)
        if cron.end_time is not None and ("end_time" in body.model_fields_set or body.enabled):
            await _check_end(request, cron)
        payload, asked = _payload(cron, _kept(record) | _given(body))
        if await crons.change(redis, record, cron, payload, asked):
            return answer(show_cron(await crons.get(redis, cron_id)))
    raise crons.changed_too_often_error(cron_id)


def _patched(record: CronRecord, body: CronPatch) -> Cron:
    cron = record.cron
    if body.on_run_completed is not None and cron.thread_id is not None:
        raise InvalidError("on_run_completed: this cron's runs are on a thread that stays")
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


def _kept(record: CronRecord) -> dict[str, Any]:
    """Returns what the cron's runs have been asked for with until now."""
    payload = msgspec.json.decode(record.payload)
    return {name: value for name, value in payload.items() if name in PAYLOAD}


async def delete(request: Request) -> Response:
    """`DELETE /runs/crons/{cron_id}`: its runs, and their threads, stay."""
    await crons.delete(_redis(request), path_uuid(request, "cron_id", "cron"))
    return Response(status_code=204)


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(request: Request) -> Response:
    """`GET /runs/crons/{cron_id}`"""
    cron_id = path_uuid(request, "cron_id", "cron")
    return answer(show_cron(await crons.get(_redis(request), cron_id)))


async def search(request: Request) -> Response:
    """`POST /runs/crons/search`: crons that fit, a page at a time; newest first.

    Those that have not what they are sorted by (a thread, a time) come last in either order.
    """
    body = await read_model(request, CronSearch, empty=True)
    found = await _find(request, body)
    page = _sorted(found, body)[body.offset : body.offset + body.limit]
    if not body.select or "payload" in body.select:
        page = await crons.read_payloads(_redis(request), page)
    more = body.offset + body.limit < len(found)
    return answer(
        [show_cron(record, list(body.select)) for record in page],
        headers=page_headers(len(found), offset=body.offset, limit=body.limit, more=more),
    )


def _sorted(found: list[CronRecord], body: CronSearch) -> list[CronRecord]:
    def value(record: CronRecord) -> Any:
        match body.sort_by:
            case "created_at" | "updated_at" as field:
                return getattr(record, field)
            case "next_run_date":
                return record.next_ms
            case field:
                return getattr(record.cron, field)

    def name(record: CronRecord) -> str:
        return record.cron.cron_id

    have = [record for record in found if value(record) is not None]
    have.sort(key=lambda r: (value(r), name(r)), reverse=body.sort_order == "desc")
    return have + sorted((record for record in found if value(record) is None), key=name)


async def count(request: Request) -> Response:
    """`POST /runs/crons/count`: how many crons fit."""
    body = await read_model(request, CronFilter, empty=True)
    return answer(len(await _find(request, body)))


async def _find(request: Request, body: CronFilter) -> list[CronRecord]:
    wanted = crons.CronFilter(
        assistant_id=body.assistant_id and await _assistant(request, body.assistant_id),
        thread_id=body.thread_id,
        enabled=body.enabled,
        metadata=body.metadata,
    )
    return await crons.find(_redis(request), wanted)


async def _assistant(request: Request, given: str) -> str:
    """Returns the id of the assistant, also of one that is gone: its crons may be there."""
    try:
        return (await _directory(request).resolve(given)).assistant.assistant_id
    except (NotFoundError, InvalidError):
        return given


def _redis(request: Request) -> Client:
    redis: Client = request.app.state.redis
    return redis


def _directory(request: Request) -> GraphDirectory:
    directory: GraphDirectory = request.app.state.graphs
    return directory
