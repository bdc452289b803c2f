"""The use cases of the Agent Protocol alone: agents, and runs with their final state."""

from typing import Any, Final

import msgspec

from millstream.api.assistants import graph_operations
from millstream.api.assistants import operations as assistants
from millstream.api.assistants.permits import permit_assistant
from millstream.api.context import RequestContext
from millstream.api.runs import operations as runs
from millstream.api.runs.operations import FollowedRun
from millstream.shared.assistants import Resolved
from millstream.shared.errors import InvalidError, MillstreamError, NotFoundError
from millstream.shared.events.entries import Entry
from millstream.shared.runs import RunRecord
from millstream.shared.runs.json_view import run_to_json

ROLES: Final = {
    "human": "user",
    "ai": "assistant",
}  # LangChain's message types → the protocol's roles
SCHEMAS: Final = ("input_schema", "output_schema", "state_schema", "config_schema")


async def resolve(context: RequestContext, agent_id: str) -> Resolved:
    """Returns the agent's assistant. The id may be a graph's name. Raises NotFoundError."""
    try:
        return await assistants.resolve(context, agent_id)
    except (InvalidError, NotFoundError):
        raise NotFoundError(f"Agent {agent_id[:60]!r} not found") from None


async def id_of(context: RequestContext, agent_id: str) -> str:
    """Returns the agent's id. The argument may be a graph's name. Raises NotFoundError, InvalidError, AccessError."""
    return (await permit_assistant(context, agent_id)).assistant.assistant_id


async def agent_of(context: RequestContext, resolved: Resolved) -> dict[str, Any]:
    """Returns an `Agent`. Calls a worker for its capabilities if they are not cached."""
    assistant = resolved.assistant
    capabilities = {"ap.io.streaming": True}
    try:
        input_schema = (await graph_operations.schemas_of(context, resolved)).input
        capabilities["ap.io.messages"] = "messages" in input_schema.get("properties", {})
    except MillstreamError:  # no worker serves the graph, or it has no schemas: unknown
        pass
    return {
        "agent_id": assistant.assistant_id,
        "name": assistant.name,
        "description": assistant.description or "",
        "metadata": msgspec.Raw(assistant.metadata),
        "capabilities": capabilities,
    }


async def schemas_of(context: RequestContext, agent_id: str) -> dict[str, Any]:
    """Returns `AgentSchemas`. Where the graph has no schema, any value is valid. Raises NotFoundError."""
    resolved = await resolve(context, agent_id)
    reply = msgspec.json.decode(await graph_operations.call(context, resolved, "schemas", {}))
    schemas = {name: reply.get(name) or {} for name in SCHEMAS}
    return {"agent_id": resolved.assistant.assistant_id, **schemas}


async def run_result(context: RequestContext, followed: FollowedRun, end: Entry) -> bytes:
    """Returns `RunWait`, as JSON: the run and its final state."""
    thread_id, run_id = followed.thread_id, followed.run_id
    # A run on a temporary thread may be deleted already: then the record from before has the final status.
    record = await runs.find(context, thread_id, run_id) or followed.record
    run = run_of(record) | msgspec.json.decode(end.data)
    values = msgspec.json.decode(await runs.final_output(followed, end))
    result: dict[str, Any] = {"run": run, "values": values}
    if isinstance(values, dict) and isinstance(values.get("messages"), list):
        result["messages"] = [_message(each) for each in values.pop("messages")]
    return msgspec.json.encode(result)


def _message(message: Any) -> Any:
    """Returns a LangChain message with the protocol's `role` added."""
    if not isinstance(message, dict):
        return {"role": "user", "content": message}
    kind = message.get("type", "user")
    return {"role": ROLES.get(kind, kind), **message}


def run_of(record: RunRecord) -> dict[str, Any]:
    """Returns an `AgentRun`."""
    return {**run_to_json(record), "agent_id": record.spec.assistant_id}
