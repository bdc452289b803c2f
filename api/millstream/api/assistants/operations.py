"""The use cases of assistants: create, read, find, change, choose a version, delete."""

import uuid
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
from pydantic import BaseModel

from millstream.api.assistants.permits import allows, judge, open_assistant
from millstream.api.assistants.schemas import (
    AssistantConfig,
    AssistantCreate,
    AssistantPatch,
)
from millstream.api.auth.permits import Permit, rejudged
from millstream.api.context import RequestContext
from millstream.api.threads import delete_operations
from millstream.api.threads import operations as threads
from millstream.shared import crons
from millstream.shared.assistants import Resolved, default_assistant_id, records
from millstream.shared.assistants.records import AssistantRecord
from millstream.shared.errors import (
    AccessError,
    ConflictError,
    InvalidError,
    NotFoundError,
    RightsChangedError,
)
from millstream.shared.threads.search import ThreadFilter
from millstream.shared.wire import Assistant, pack, to_json

MAX_BYTES: Final = 256 * 1024  # of a version; every run reads it
TRIES: Final = 100  # changes of one assistant at the same time
# Fields of a request that a decider reads and may change. Source: langgraph_sdk.auth.types.
QUESTION: Final = ("graph_id", "name", "config", "context", "metadata")
Body = TypeVar("Body", AssistantCreate, AssistantPatch)
PAGE: Final = 100  # threads that are deleted between two searches


# ── Create and change ───────────────────────────────────────────────────────────────────────


async def create(context: RequestContext, body: AssistantCreate) -> AssistantRecord:
    """Creates an assistant. With `if_exists: do_nothing`, returns the existing one.

    Raises:
        ConflictError: the id is taken.
        InvalidError: no worker has ever served the graph, or the assistant is too large.
    """
    assistant_id = body.assistant_id or str(uuid.uuid4())
    permit = await context.authorize(
        "assistants.create", {**_question(body), "assistant_id": assistant_id}
    )
    body = _as_left(body, permit)
    graph = await permit.directory.graph(body.graph_id)
    assistant = Assistant(
        assistant_id=assistant_id,
        graph_id=graph.graph_id,
        name=body.name,
        description=body.description,
        config=_json(body.config),
        context=to_json(body.context),
        metadata=to_json(permit.stamp(_without_mark(body.metadata))),
    )
    _check_size(assistant)
    try:
        if assistant.assistant_id in await permit.directory.default_ids():
            raise records.id_taken_error(assistant.assistant_id)
        await records.create(permit.redis, assistant)
    except ConflictError:
        if body.if_exists == "raise":
            raise
        record = (await resolve(context, assistant_id)).record
        if not allows(permit, record):
            raise records.id_taken_error(assistant_id) from None
        return record
    return (await permit.directory.resolve(assistant_id)).record


def _without_mark(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns metadata without `created_by: system`, by which filters know the server's own assistants."""
    return {k: v for k, v in metadata.items() if (k, v) != ("created_by", "system")}


def _question(body: AssistantCreate | AssistantPatch) -> dict[str, Any]:
    """Returns the fields of a request that a decider reads and may change; None for those that a patch lacks."""
    question: dict[str, Any] = body.model_dump(include=set(QUESTION))
    for name in (
        "config",
        "context",
    ):  # without the defaults in them, which are no values of the client's
        sent = getattr(body, name)
        if isinstance(sent, BaseModel):
            question[name] = sent.model_dump(exclude_unset=True)
    return question


def _as_left(body: Body, permit: Permit) -> Body:
    """Returns the request as the decider left it. Raises pydantic's ValidationError if that is invalid."""
    question = _question(body)
    changed = {
        name: permit.value[name]
        for name in QUESTION
        if name in permit.value and permit.value[name] != question[name]
    }
    if not changed:
        return body
    return type(body).model_validate({**body.model_dump(exclude_unset=True), **changed})


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
    resolved, permit = await open_assistant(
        context, "assistants.update", assistant_id, _question(body)
    )
    body = _as_left(body, permit)
    if body.graph_id is not None:
        await permit.directory.graph(body.graph_id)
    for _ in range(TRIES):
        record = resolved.record
        changed = _apply_patch(record, body)
        permit.require(msgspec.json.decode(changed.metadata))
        _check_size(changed)
        if await records.update(permit.redis, record, changed):
            permit.directory.forget()
            return (await permit.directory.resolve(assistant_id)).record
        resolved = judge(permit, await permit.directory.resolve(assistant_id))
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
    metadata = msgspec.json.decode(before.metadata) | _without_mark(body.metadata)
    return msgspec.structs.replace(
        before,
        graph_id=body.graph_id or before.graph_id,
        name=body.name or before.name,
        description=before.description if body.description is None else body.description,
        config=before.config if body.config is None else _json(body.config),
        context=before.context if body.context is None else to_json(body.context),
        metadata=to_json(metadata),
    )


@rejudged
async def choose_version(
    context: RequestContext, assistant_id: str, version: int
) -> AssistantRecord:
    """Makes a version the current one. Raises NotFoundError."""
    resolved, permit = await open_assistant(
        context, "assistants.update", assistant_id, {"version": version}
    )
    stored = await records.versions(permit.redis, resolved.assistant.assistant_id)
    chosen = next((each for each in stored if each.version == version), None)
    if chosen is not None:
        permit.require(msgspec.json.decode(chosen.assistant.metadata))
    revision = None if permit.filter is None else resolved.record.revision
    await records.choose(permit.redis, resolved.record, version, revision)
    return (await permit.directory.resolve(assistant_id)).record


@rejudged
async def delete(context: RequestContext, assistant_id: str, *, delete_threads: bool) -> None:
    """Deletes an assistant and its crons; its runs continue.

    With `delete_threads`, also deletes the threads whose newest run is the assistant's.

    Raises:
        NotFoundError: there is no such assistant.
        ConflictError: it is the default assistant of a graph.
        UnavailableError: the runs of a thread do not end.
    """
    resolved, permit = await open_assistant(context, "assistants.delete", assistant_id)
    assistant = resolved.assistant
    if assistant.assistant_id == default_assistant_id(assistant.graph_id):
        raise ConflictError(
            f"This is the default assistant of graph {assistant.graph_id!r}: it exists as long as "
            "the graph, and can't be deleted."
        )
    # All of them, whatever their owners: none could fire again.
    for record in await crons.find(
        permit.redis, crons.CronFilter(assistant_id=assistant.assistant_id)
    ):
        with suppress(
            NotFoundError, RightsChangedError
        ):  # another client has deleted or changed it
            await crons.delete(permit.redis, record.cron.cron_id, record.version)
    if delete_threads:
        await _delete_threads(context, assistant.assistant_id)
    if not await records.delete(permit.redis, assistant.assistant_id, resolved.record.revision):
        raise NotFoundError("Thread or assistant not found.")


async def _delete_threads(context: RequestContext, assistant_id: str) -> None:
    """Deletes the assistant's threads that the caller may delete."""
    query = ThreadFilter(metadata={"assistant_id": assistant_id})
    skipped = 0
    while True:
        page = await threads.find_as_server(context, query, limit=PAGE, offset=skipped)
        for record in page.records:
            try:
                await delete_operations.delete(context, record.thread_id)
            except (NotFoundError, AccessError):
                skipped += 1
        if not page.more:
            return


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def resolve(context: RequestContext, assistant_id: str) -> Resolved:
    """Returns an assistant with its graph. The id may be a graph's name. Raises NotFoundError, InvalidError."""
    return (await open_assistant(context, "assistants.read", assistant_id))[0]


async def find(
    context: RequestContext,
    *,
    metadata: dict[str, Any],
    graph_id: str | None = None,
    name: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[AssistantRecord]:
    """Returns the assistants that match, in no order. The page is for the decider alone."""
    value = {"graph_id": graph_id, "metadata": metadata, "limit": limit, "offset": offset}
    permit = await context.authorize("assistants.search", value)
    return [
        record
        for record in await permit.directory.assistants()
        if record.matches(
            metadata=permit.metadata, graph_id=permit.value.get("graph_id"), name=name
        )
        and allows(permit, record)
    ]


async def versions(
    context: RequestContext, assistant_id: str, metadata: dict[str, Any]
) -> list[AssistantRecord]:
    """Returns the stored versions of the assistant that match, the newest first. Raises NotFoundError."""
    resolved, permit = await open_assistant(context, "assistants.read", assistant_id)
    stored = await records.versions(permit.redis, resolved.assistant.assistant_id)
    return [
        each
        for each in stored or [resolved.record]
        if each.matches(metadata=metadata, graph_id=None, name=None) and allows(permit, each)
    ]


async def graph_ids(context: RequestContext) -> list[str]:
    """Returns the graphs that workers serve."""
    return [graph.graph_id for graph in await context.as_server().directory.all()]
