"""Permits for one assistant."""

from typing import Any

import msgspec

from millstream.api.auth.permits import Permit
from millstream.api.context import RequestContext
from millstream.api.uuids import canonical_uuid
from millstream.shared.access import Ask
from millstream.shared.assistants import Resolved, default_assistant_id
from millstream.shared.assistants.records import AssistantRecord
from millstream.shared.errors import NotFoundError


def allows(permit: Permit, record: AssistantRecord) -> bool:
    """Returns whether the assistant is one of those that the permit is for."""
    return permit.filter is None or permit.filter.matches(
        msgspec.json.decode(record.assistant.metadata)
    )


def judge(permit: Permit, resolved: Resolved) -> Resolved:
    """Returns the assistant. Raises NotFoundError if it is not one of those that the permit is for."""
    if not allows(permit, resolved.record):
        raise NotFoundError("Thread or assistant not found.")
    return resolved


async def permit_assistant(context: RequestContext, assistant_id: str) -> Resolved:
    """Returns the assistant for a run of it. The id may be a graph's name. All may use default assistants.

    Raises NotFoundError, InvalidError, AccessError.
    """
    try:
        resolved = await context.as_server().directory.resolve(assistant_id)
    except NotFoundError:  # a user without the right to read must not learn whether it exists
        await _ask(context, "assistants.read", assistant_id)
        raise
    assistant = resolved.assistant
    if assistant.assistant_id == default_assistant_id(assistant.graph_id):
        return resolved
    return judge(await _ask(context, "assistants.read", assistant.assistant_id), resolved)


async def open_assistant(
    context: RequestContext, ask: Ask, assistant_id: str, value: dict[str, Any] | None = None
) -> tuple[Resolved, Permit]:
    """Returns an assistant with its graph, and the permit for it. The id may be a graph's name.

    Raises NotFoundError, InvalidError, AccessError.
    """
    if canonical_uuid(assistant_id) is None:  # the names of graphs are known to all
        by_name = await context.as_server().directory.resolve(assistant_id)
        assistant_id = by_name.assistant.assistant_id
    permit = await _ask(context, ask, assistant_id, value)
    return judge(permit, await permit.directory.resolve(assistant_id)), permit


async def _ask(
    context: RequestContext, ask: Ask, assistant_id: str, value: dict[str, Any] | None = None
) -> Permit:
    return await context.authorize(ask, {"assistant_id": assistant_id, **(value or {})})
