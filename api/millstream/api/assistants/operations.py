"""The use cases of assistants: create, read, find, change, choose a version, delete."""

import uuid
from contextlib import suppress
from typing import Any, Final

import msgspec

from millstream.api.assistants.schemas import (
    AssistantConfig,
    AssistantCreate,
    AssistantPatch,
)
from millstream.api.context import RequestContext
from millstream.api.threads import operations as threads
from millstream.shared import crons
from millstream.shared.assistants import Resolved, default_assistant_id, records
from millstream.shared.assistants.records import AssistantRecord
from millstream.shared.errors import ConflictError, InvalidError, NotFoundError
from millstream.shared.threads.search import ThreadFilter
from millstream.shared.wire import Assistant, pack, to_json

MAX_BYTES: Final = 256 * 1024  # of a version; every run reads it
TRIES: Final = 100  # changes of one assistant at the same time
PAGE: Final = 100  # threads that are deleted between two searches


# ── Create and change ───────────────────────────────────────────────────────────────────────


async def create(context: RequestContext, body: AssistantCreate) -> AssistantRecord:
    """Creates an assistant. With `if_exists: do_nothing`, returns the existing one.

    Raises:
        ConflictError: the id is taken.
        InvalidError: no worker has ever served the graph, or the assistant is too large.
    """
    graph = await context.directory.graph(body.graph_id)
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
        if assistant.assistant_id in await context.directory.default_ids():
            raise records.id_taken_error(assistant.assistant_id)
        await records.create(context.redis, assistant)
    except ConflictError:
        if body.if_exists == "raise":
            raise
    return (await resolve(context, assistant.assistant_id)).record


def _json(config: AssistantConfig | None) -> bytes:
    return to_json({} if config is None else config.model_dump(exclude_unset=True))


def _check_size(assistant: Assistant) -> None:
    size = len(pack(assistant))
    if size > MAX_BYTES:
        raise InvalidError(
            f"config, context, metadata: {size} bytes together; the limit is {MAX_BYTES}"
        )


async def patch(
    context: RequestContext, assistant_id: str, body: AssistantPatch
) -> AssistantRecord:
    """Creates a version, which becomes the current one.

    Raises:
        NotFoundError: there is no such assistant.
        InvalidError: no worker has ever served the graph, a default assistant would change its graph, or the version is
            too large.
        ConflictError: many requests change the assistant at the same time.
    """
    if body.graph_id is not None:
        await context.directory.graph(body.graph_id)
    for _ in range(TRIES):
        record = (await resolve(context, assistant_id)).record
        changed = _apply_patch(record, body)
        _check_size(changed)
        if await records.update(context.redis, record, changed):
            context.directory.forget()
            return (await resolve(context, assistant_id)).record
    raise ConflictError(
        f"Assistant {record.assistant.assistant_id} is being changed by many requests at the same time. Try again."
    )


def _apply_patch(record: AssistantRecord, body: AssistantPatch) -> Assistant:
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


async def choose_version(
    context: RequestContext, assistant_id: str, version: int
) -> AssistantRecord:
    """Makes a version the current one. Raises NotFoundError."""
    await records.choose(context.redis, (await resolve(context, assistant_id)).record, version)
    return (await resolve(context, assistant_id)).record


async def delete(context: RequestContext, assistant_id: str, *, delete_threads: bool) -> None:
    """Deletes an assistant and its crons; its runs continue.

    With `delete_threads`, also deletes the threads whose newest run is the assistant's.

    Raises:
        NotFoundError: there is no such assistant.
        ConflictError: it is the default assistant of a graph.
        UnavailableError: the runs of a thread do not end.
    """
    assistant = (await resolve(context, assistant_id)).assistant
    if assistant.assistant_id == default_assistant_id(assistant.graph_id):
        raise ConflictError(
            f"This is the default assistant of graph {assistant.graph_id!r}: it exists as long as "
            "the graph, and can't be deleted."
        )
    for record in await crons.find(
        context.redis, crons.CronFilter(assistant_id=assistant.assistant_id)
    ):
        with suppress(NotFoundError):  # another client has deleted it
            await crons.delete(context.redis, record.cron.cron_id)
    if delete_threads:
        await _delete_threads(context, assistant.assistant_id)
    if not await records.delete(context.redis, assistant.assistant_id):
        raise NotFoundError("Thread or assistant not found.")


async def _delete_threads(context: RequestContext, assistant_id: str) -> None:
    query = ThreadFilter(metadata={"assistant_id": assistant_id})
    while True:
        page = await threads.find(context, query, limit=PAGE)
        for record in page.records:
            with suppress(NotFoundError):
                await threads.delete(context, record.thread_id)
        if not page.more:
            return


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def resolve(context: RequestContext, assistant_id: str) -> Resolved:
    """Returns an assistant with its graph. The id may be a graph's name. Raises NotFoundError, InvalidError."""
    return await context.directory.resolve(assistant_id)


async def find(
    context: RequestContext,
    *,
    metadata: dict[str, Any],
    graph_id: str | None = None,
    name: str | None = None,
) -> list[AssistantRecord]:
    """Returns the assistants that match, in no order."""
    return [
        record
        for record in await context.directory.assistants()
        if record.matches(metadata=metadata, graph_id=graph_id, name=name)
    ]


async def versions(
    context: RequestContext, assistant_id: str, metadata: dict[str, Any]
) -> list[AssistantRecord]:
    """Returns the stored versions of the assistant that match, the newest first. Raises NotFoundError."""
    record = (await resolve(context, assistant_id)).record
    stored = await records.versions(context.redis, record.assistant.assistant_id)
    return [
        each
        for each in stored or [record]
        if each.matches(metadata=metadata, graph_id=None, name=None)
    ]


async def graph_ids(context: RequestContext) -> list[str]:
    """Returns the graphs that workers serve."""
    return [graph.graph_id for graph in await context.directory.all()]
