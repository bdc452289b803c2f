"""Assistants: create, read, search, count, change, choose a version, delete."""

import uuid
from contextlib import suppress
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from millstream.api.assistants.schemas import (
    AssistantConfig,
    AssistantCreate,
    AssistantDelete,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    VersionChoice,
    VersionSearch,
)
from millstream.api.http.body import answer, path_uuid, query_model, read_model
from millstream.api.http.json_views import show_assistant, show_version
from millstream.api.http.pagination import page_headers
from millstream.api.threads import routes as threads
from millstream.shared import crons
from millstream.shared.assistants import GraphDirectory, Resolved, default_assistant_id
from millstream.shared.assistants import records as assistant_records
from millstream.shared.assistants.records import AssistantRecord
from millstream.shared.errors import ConflictError, InvalidError, NotFoundError
from millstream.shared.redis import Client
from millstream.shared.threads import search as thread_search
from millstream.shared.wire import Assistant, pack, to_json

LARGEST: Final = 256 * 1024  # bytes of a version; every run reads it
TRIES: Final = 100  # changes of one assistant at the same time


# ── Create and change ───────────────────────────────────────────────────────────────────────


async def create(request: Request) -> Response:
    """`POST /assistants`: 409 if the id is taken, unless `if_exists` is `do_nothing`."""
    body = await read_model(request, AssistantCreate)
    directory = _directory(request)
    graph = await directory.graph(body.graph_id)
    assistant = Assistant(
        assistant_id=body.assistant_id or str(uuid.uuid4()),
        graph_id=graph.graph_id,
        name=body.name,
        description=body.description,
        config=_json(body.config),
        context=to_json(body.context),
        metadata=to_json(body.metadata),
    )
    _check_size(assistant)
    try:
        if assistant.assistant_id in await directory.default_ids():
            raise assistant_records.id_taken_error(assistant.assistant_id)
        await assistant_records.create(_redis(request), assistant)
    except ConflictError:
        if body.if_exists == "raise":
            raise
    return answer(show_assistant((await directory.resolve(assistant.assistant_id)).record))


def _json(config: AssistantConfig | None) -> bytes:
    return to_json({} if config is None else config.model_dump(exclude_unset=True))


def _check_size(assistant: Assistant) -> None:
    size = len(pack(assistant))
    if size > LARGEST:
        raise InvalidError(
            f"config, context, metadata: together they take {size} bytes; at most {LARGEST} are kept"
        )


async def patch(request: Request) -> Response:
    """`PATCH /assistants/{assistant_id}`: a new version, which becomes the current one."""
    body = await read_model(request, AssistantPatch)
    directory = _directory(request)
    if body.graph_id is not None:
        await directory.graph(body.graph_id)
    for _ in range(TRIES):
        record = (await _resolved(request)).record
        changed = _patched(record, body)
        _check_size(changed)
        if await assistant_records.update(_redis(request), record, changed):
            directory.forget()
            return answer(show_assistant((await _resolved(request)).record))
    raise ConflictError(
        f"Assistant {record.assistant.assistant_id} is changed by many at once. Try again."
    )


def _patched(record: AssistantRecord, body: AssistantPatch) -> Assistant:
    before = record.assistant
    is_default = before.assistant_id == default_assistant_id(before.graph_id)
    if is_default and body.graph_id not in (None, before.graph_id):
        raise InvalidError(
            f"graph_id: this is the default assistant of graph {before.graph_id!r}; create another "
            f"one for {body.graph_id!r}"
        )
    metadata = msgspec.json.decode(before.metadata) | body.metadata
    return msgspec.structs.replace(
        before,
        graph_id=body.graph_id or before.graph_id,
        name=body.name or before.name,
        description=before.description if body.description is None else body.description,
        config=before.config if body.config is None else _json(body.config),
        context=before.context if body.context is None else to_json(body.context),
        metadata=to_json(metadata),
    )


async def latest(request: Request) -> Response:
    """`POST /assistants/{assistant_id}/latest`: makes a version the current one."""
    body = await read_model(request, VersionChoice)
    await assistant_records.choose(_redis(request), (await _resolved(request)).record, body.version)
    return answer(show_assistant((await _resolved(request)).record))


async def delete(request: Request) -> Response:
    """`DELETE /assistants/{assistant_id}`: its crons go too; its runs go on.

    409 for the default assistant of a graph.
    """
    query = query_model(request, AssistantDelete)
    assistant = (await _resolved(request)).assistant
    if assistant.assistant_id == default_assistant_id(assistant.graph_id):
        raise ConflictError(
            f"This is the default assistant of graph {assistant.graph_id!r}: it is there as long as "
            "the graph is, and can't be deleted."
        )
    redis = _redis(request)
    wanted = crons.CronFilter(assistant_id=assistant.assistant_id)
    for record in await crons.find(redis, wanted):
        with suppress(NotFoundError):  # somebody else has deleted it
            await crons.delete(redis, record.cron.cron_id)
    if query.delete_threads:
        await _delete_threads(request, assistant.assistant_id)
    if not await assistant_records.delete(redis, assistant.assistant_id):
        raise NotFoundError("Thread or assistant not found.")
    return Response(status_code=204)


async def _delete_threads(request: Request, assistant_id: str) -> None:
    """Deletes the threads whose newest run was the assistant's, with all that belongs to them."""
    wanted = thread_search.ThreadFilter(metadata={"assistant_id": assistant_id})
    while True:
        page = await thread_search.search(
            _redis(request), wanted, limit=100, offset=0, with_state=False
        )
        for record in page.records:
            with suppress(NotFoundError):
                await threads.delete_thread(request, record.thread_id)
        if not page.more:
            return


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(request: Request) -> Response:
    """`GET /assistants/{assistant_id}`"""
    return answer(show_assistant((await _resolved(request)).record))


async def search(request: Request) -> Response:
    """`POST /assistants/search`: assistants that fit, a page at a time; newest first."""
    query = await read_model(request, AssistantSearch, empty=True)
    found = await _find(request, query)

    def value(record: AssistantRecord) -> Any:
        own = query.sort_by in ("created_at", "updated_at")
        return getattr(record if own else record.assistant, query.sort_by)

    found.sort(
        key=lambda each: (value(each), each.assistant.assistant_id),
        reverse=query.sort_order == "desc",
    )
    more = query.offset + query.limit < len(found)
    return answer(
        [
            show_assistant(record, list(query.select))
            for record in found[query.offset : query.offset + query.limit]
        ],
        headers=page_headers(len(found), offset=query.offset, limit=query.limit, more=more),
    )


async def count(request: Request) -> Response:
    """`POST /assistants/count`: how many assistants fit."""
    return answer(len(await _find(request, await read_model(request, AssistantFilter, empty=True))))


async def _find(request: Request, query: AssistantFilter) -> list[AssistantRecord]:
    return [
        record
        for record in await _directory(request).assistants()
        if record.fits(metadata=query.metadata, graph_id=query.graph_id, name=query.name)
    ]


async def versions(request: Request) -> Response:
    """`POST /assistants/{assistant_id}/versions`: those that are kept, newest first."""
    query = await read_model(request, VersionSearch, empty=True)
    record = (await _resolved(request)).record
    found = await assistant_records.versions(_redis(request), record.assistant.assistant_id)
    fit = [
        show_version(each)
        for each in found or [record]
        if each.fits(metadata=query.metadata, graph_id=None, name=None)
    ]
    return answer(fit[query.offset : query.offset + query.limit])


async def _resolved(request: Request) -> Resolved:
    return await _directory(request).resolve(path_uuid(request, "assistant_id", "assistant"))


def _directory(request: Request) -> GraphDirectory:
    directory: GraphDirectory = request.app.state.graphs
    return directory


def _redis(request: Request) -> Client:
    redis: Client = request.app.state.redis
    return redis
