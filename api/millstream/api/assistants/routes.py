"""Assistants: create, read, search, count, change, choose a version, delete."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.assistants import operations
from millstream.api.assistants.schemas import (
    AssistantCreate,
    AssistantDelete,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    VersionChoice,
    VersionSearch,
)
from millstream.api.http.body import json_response, path_uuid, query_model, read_model
from millstream.api.http.context import context_of
from millstream.api.http.json_views import show_assistant, show_version
from millstream.api.http.pagination import page_headers
from millstream.shared.assistants.records import AssistantRecord

# ── Create and change ───────────────────────────────────────────────────────────────────────


async def create(request: Request) -> Response:
    """`POST /assistants`: Creates an assistant.

    409 if the id is taken, unless `if_exists` is `do_nothing`.
    """
    body = await read_model(request, AssistantCreate)
    return json_response(show_assistant(await operations.create(context_of(request), body)))


async def patch(request: Request) -> Response:
    """`PATCH /assistants/{assistant_id}`: Creates a version of the assistant, which becomes the current one."""
    body = await read_model(request, AssistantPatch)
    record = await operations.patch(context_of(request), _id(request), body)
    return json_response(show_assistant(record))


async def latest(request: Request) -> Response:
    """`POST /assistants/{assistant_id}/latest`: Makes a version of the assistant the current one."""
    body = await read_model(request, VersionChoice)
    record = await operations.choose_version(context_of(request), _id(request), body.version)
    return json_response(show_assistant(record))


async def delete(request: Request) -> Response:
    """`DELETE /assistants/{assistant_id}`: Deletes the assistant and its crons; its runs continue.

    409 for the default assistant of a graph.
    """
    query = query_model(request, AssistantDelete)
    await operations.delete(context_of(request), _id(request), delete_threads=query.delete_threads)
    return Response(status_code=204)


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(request: Request) -> Response:
    """`GET /assistants/{assistant_id}`: Returns the assistant."""
    resolved = await operations.resolve(context_of(request), _id(request))
    return json_response(show_assistant(resolved.record))


async def search(request: Request) -> Response:
    """`POST /assistants/search`: Returns a page of the assistants that match, newest first."""
    query = await read_model(request, AssistantSearch, empty=True)
    records = await _find(request, query, limit=query.limit, offset=query.offset)

    def value(record: AssistantRecord) -> Any:
        is_of_record = query.sort_by in ("created_at", "updated_at")
        return getattr(record if is_of_record else record.assistant, query.sort_by)

    records.sort(
        key=lambda each: (value(each), each.assistant.assistant_id),
        reverse=query.sort_order == "desc",
    )
    more = query.offset + query.limit < len(records)
    return json_response(
        [
            show_assistant(record, list(query.select))
            for record in records[query.offset : query.offset + query.limit]
        ],
        headers=page_headers(len(records), offset=query.offset, limit=query.limit, more=more),
    )


async def count(request: Request) -> Response:
    """`POST /assistants/count`: Returns the number of assistants that match."""
    return json_response(
        len(await _find(request, await read_model(request, AssistantFilter, empty=True)))
    )


async def _find(
    request: Request, query: AssistantFilter, *, limit: int | None = None, offset: int = 0
) -> list[AssistantRecord]:
    return await operations.find(
        context_of(request),
        metadata=query.metadata,
        graph_id=query.graph_id,
        name=query.name,
        limit=limit,
        offset=offset,
    )


async def versions(request: Request) -> Response:
    """`POST /assistants/{assistant_id}/versions`: Returns the stored versions of the assistant, newest first."""
    query = await read_model(request, VersionSearch, empty=True)
    records = await operations.versions(context_of(request), _id(request), query.metadata)
    return json_response(
        [show_version(each) for each in records[query.offset : query.offset + query.limit]]
    )


def _id(request: Request) -> str:
    return path_uuid(request, "assistant_id", "assistant")
