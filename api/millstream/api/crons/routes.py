"""Crons: create, read, search, count, change, delete."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.crons import operations
from millstream.api.crons.schemas import (
    CronCreateStateful,
    CronCreateStateless,
    CronFilter,
    CronPatch,
    CronSearch,
)
from millstream.api.http.body import json_response, path_uuid, read_model
from millstream.api.http.context import context_of
from millstream.api.http.json_views import show_cron
from millstream.api.http.pagination import page_headers
from millstream.shared.crons import CronRecord

# ── Create ──────────────────────────────────────────────────────────────────────────────────


async def create(request: Request) -> Response:
    """`POST /runs/crons`: Creates a cron. Each of its runs gets a new thread."""
    body = await read_model(request, CronCreateStateless)
    record = await operations.create(context_of(request), body, None, body.on_run_completed)
    return json_response(show_cron(record))


async def create_for_thread(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs/crons`: Creates a cron whose runs are all on the thread."""
    thread_id = path_uuid(request, "thread_id", "thread")
    body = await read_model(request, CronCreateStateful)
    return json_response(
        show_cron(await operations.create(context_of(request), body, thread_id, None))
    )


# ── Change and delete ───────────────────────────────────────────────────────────────────────


async def patch(request: Request) -> Response:
    """`PATCH /runs/crons/{cron_id}`: Changes the fields of the cron that the body has; merges metadata."""
    cron_id = _id(request)
    body = await read_model(request, CronPatch)
    return json_response(show_cron(await operations.patch(context_of(request), cron_id, body)))


async def delete(request: Request) -> Response:
    """`DELETE /runs/crons/{cron_id}`: Deletes the cron. Its runs and their threads stay."""
    await operations.delete(context_of(request), _id(request))
    return Response(status_code=204)


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(request: Request) -> Response:
    """`GET /runs/crons/{cron_id}`: Returns the cron."""
    return json_response(show_cron(await operations.get(context_of(request), _id(request))))


async def search(request: Request) -> Response:
    """`POST /runs/crons/search`: Returns a page of the crons that match, newest first.

    Crons without a value of the sorted field (a thread, a time) are last in either order.
    """
    body = await read_model(request, CronSearch, empty=True)
    context = context_of(request)
    matches = await operations.find(context, body, limit=body.limit, offset=body.offset)
    records = matches.records
    page = _sort(records, body)[body.offset : body.offset + body.limit]
    if not body.select or "payload" in body.select:
        page = await matches.with_payloads(page)
    more = body.offset + body.limit < len(records)
    return json_response(
        [show_cron(record, list(body.select)) for record in page],
        headers=page_headers(len(records), offset=body.offset, limit=body.limit, more=more),
    )


def _sort(records: list[CronRecord], body: CronSearch) -> list[CronRecord]:
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

    with_value = [record for record in records if value(record) is not None]
    with_value.sort(key=lambda r: (value(r), name(r)), reverse=body.sort_order == "desc")
    return with_value + sorted((record for record in records if value(record) is None), key=name)


async def count(request: Request) -> Response:
    """`POST /runs/crons/count`: Returns the number of crons that match."""
    body = await read_model(request, CronFilter, empty=True)
    return json_response(len((await operations.find(context_of(request), body)).records))


def _id(request: Request) -> str:
    return path_uuid(request, "cron_id", "cron")
