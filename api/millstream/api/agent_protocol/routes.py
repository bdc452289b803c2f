"""The routes of the Agent Protocol beside those that the LangGraph Platform API has too.

An agent is an assistant; it may be named by its graph. Source: github.com/langchain-ai/agent-protocol.
"""

import asyncio
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from millstream.api.agent_protocol.schemas import AgentSearch, RunSearch
from millstream.api.http.body import answer, read_model
from millstream.api.http.pagination import page_headers
from millstream.api.runs.follow import schemas_of
from millstream.api.runs.routes import Output, joined
from millstream.api.threads.state_routes import ask
from millstream.shared import runs, threads
from millstream.shared.assistants import GraphDirectory, Resolved
from millstream.shared.errors import InvalidError, MillstreamError, NotFoundError
from millstream.shared.events.entries import Entry
from millstream.shared.redis import Client
from millstream.shared.runs import RunRecord
from millstream.shared.runs import search as run_search
from millstream.shared.runs.json_view import run_to_json
from millstream.shared.runs.submission import config_of_assistant

ROLES: Final = {"human": "user", "ai": "assistant"}  # LangChain's words → those of the protocol


# ── Agents ──────────────────────────────────────────────────────────────────────────────────


async def search(request: Request) -> Response:
    """`POST /agents/search`: agents that fit, a page at a time; newest first."""
    query = await read_model(request, AgentSearch, empty=True)
    directory = _directory(request)
    found = [
        record
        for record in await directory.assistants()
        if record.fits(metadata=query.metadata, graph_id=None, name=query.name)
    ]
    found.sort(key=lambda each: (each.created_at, each.assistant.assistant_id), reverse=True)
    page = found[query.offset : query.offset + query.limit]
    resolved = [await directory.resolve(record.assistant.assistant_id) for record in page]
    more = query.offset + query.limit < len(found)
    return answer(
        await asyncio.gather(*(_shown(request, each) for each in resolved)),
        headers=page_headers(len(found), offset=query.offset, limit=query.limit, more=more),
    )


async def get(request: Request) -> Response:
    """`GET /agents/{agent_id}`"""
    return answer(await _shown(request, await _resolved(request)))


async def schemas(request: Request) -> Response:
    """`GET /agents/{agent_id}/schemas`: a worker answers. What a graph has no schema for may be anything."""
    resolved = await _resolved(request)
    arguments = {"config": config_of_assistant(resolved.assistant)}
    told = msgspec.json.decode(await ask(request, resolved.graph.graph_id, "schemas", arguments))
    names = ("input_schema", "output_schema", "state_schema", "config_schema")
    shown = {name: told.get(name) or {} for name in names}
    return answer({"agent_id": resolved.assistant.assistant_id, **shown})


async def _shown(request: Request, resolved: Resolved) -> dict[str, Any]:
    assistant = resolved.assistant
    capabilities = {"ap.io.streaming": True}
    try:
        taken = (await schemas_of(request, resolved)).input
        capabilities["ap.io.messages"] = "messages" in taken.get("properties", {})
    except MillstreamError:  # no worker serves the graph, or it can't say: it is not known
        pass
    return {
        "agent_id": assistant.assistant_id,
        "name": assistant.name,
        "description": assistant.description or "",
        "metadata": msgspec.Raw(assistant.metadata),
        "capabilities": capabilities,
    }


async def _resolved(request: Request) -> Resolved:
    agent_id = request.path_params["agent_id"]
    try:
        return await _directory(request).resolve(agent_id)
    except (InvalidError, NotFoundError):
        raise NotFoundError(f"Agent {agent_id[:60]!r} not found") from None


def _directory(request: Request) -> GraphDirectory:
    directory: GraphDirectory = request.app.state.graphs
    return directory


# ── Runs ────────────────────────────────────────────────────────────────────────────────────


async def search_runs(request: Request) -> Response:
    """`POST /runs/search`: runs of a thread, or those of all threads that wait or run; newest first."""
    query = await read_model(request, RunSearch, empty=True)
    redis: Client = request.app.state.redis
    if query.thread_id is not None:
        await threads.require_thread(redis, query.thread_id)
    assistant_id = None
    if query.agent_id is not None:
        resolved = await _directory(request).resolve(query.agent_id)
        assistant_id = resolved.assistant.assistant_id
    found = await run_search.search(
        redis,
        thread_id=query.thread_id,
        status=query.status,
        assistant_id=assistant_id,
        metadata=query.metadata,
        limit=query.limit,
        offset=query.offset,
    )
    return answer([_run(record) for record in found])


async def wait(request: Request) -> Response:
    """`GET /runs/{run_id}/wait`: waits for the end; the run, and the state in which it ended."""
    redis: Client = request.app.state.redis
    return await joined(request, "wait", lambda record: _ended(redis, record))


def _ended(redis: Client, joined_at: RunRecord) -> Output:
    thread_id, run_id = joined_at.spec.thread_id, joined_at.spec.run_id

    async def final(end: Entry) -> bytes:
        # A run whose thread goes with it may be gone: it is shown as it was, with the status that it ended with.
        record = await runs.find_run(redis, thread_id, run_id) or joined_at
        shown = _run(record) | msgspec.json.decode(end.data)
        values = msgspec.json.decode(await runs.final_output(redis, thread_id, run_id, end.output))
        told: dict[str, Any] = {"run": shown, "values": values}
        if isinstance(values, dict) and isinstance(values.get("messages"), list):
            told["messages"] = [_message(each) for each in values.pop("messages")]
        return msgspec.json.encode(told)

    return final


def _message(message: Any) -> Any:
    """Returns a message with its `role`, beside what LangChain tells of it."""
    if not isinstance(message, dict):
        return {"role": "user", "content": message}
    kind = message.get("type", "user")
    return {"role": ROLES.get(kind, kind), **message}


def _run(record: RunRecord) -> dict[str, Any]:
    return {**run_to_json(record), "agent_id": record.spec.assistant_id}
