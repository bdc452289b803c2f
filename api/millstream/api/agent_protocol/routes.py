"""The routes of the Agent Protocol that the LangGraph Platform API lacks.

An agent is an assistant; a graph's name is a valid id for it. Source: github.com/langchain-ai/agent-protocol.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.agent_protocol import operations
from millstream.api.agent_protocol.schemas import AgentSearch, RunSearch
from millstream.api.assistants import operations as assistants
from millstream.api.http.body import json_response, query_model, read_model
from millstream.api.http.context import context_of
from millstream.api.http.pagination import page_headers
from millstream.api.runs import operations as runs
from millstream.api.runs.http import final_output, run_ids
from millstream.api.runs.schemas import RunJoin
from millstream.shared.events.entries import START


async def search(request: Request) -> Response:
    """`POST /agents/search`: Returns a page of the agents that match, newest first."""
    query = await read_model(request, AgentSearch, empty=True)
    context = context_of(request)
    records = await assistants.find(context, metadata=query.metadata, name=query.name)
    records.sort(key=lambda each: (each.created_at, each.assistant.assistant_id), reverse=True)
    page = records[query.offset : query.offset + query.limit]
    resolved = [await assistants.resolve(context, record.assistant.assistant_id) for record in page]
    more = query.offset + query.limit < len(records)
    return json_response(
        await asyncio.gather(*(operations.agent_of(context, each) for each in resolved)),
        headers=page_headers(len(records), offset=query.offset, limit=query.limit, more=more),
    )


async def get(request: Request) -> Response:
    """`GET /agents/{agent_id}`: Returns the agent."""
    context = context_of(request)
    resolved = await operations.resolve(context, request.path_params["agent_id"])
    return json_response(await operations.agent_of(context, resolved))


async def schemas(request: Request) -> Response:
    """`GET /agents/{agent_id}/schemas`: Returns the JSON schemas of the agent's graph.

    A worker responds. Where the graph has no schema, any value is valid.
    """
    agent_id = request.path_params["agent_id"]
    return json_response(await operations.schemas_of(context_of(request), agent_id))


async def search_runs(request: Request) -> Response:
    """`POST /runs/search`: Returns the runs of a thread, or all pending and running ones, newest first."""
    query = await read_model(request, RunSearch, empty=True)
    context = context_of(request)
    records = await runs.search_runs(
        context,
        thread_id=query.thread_id,
        assistant_id=query.agent_id and await operations.id_of(context, query.agent_id),
        status=query.status,
        metadata=query.metadata,
        limit=query.limit,
        offset=query.offset,
    )
    return json_response([operations.run_of(record) for record in records])


async def wait(request: Request) -> Response:
    """`GET /runs/{run_id}/wait`: Waits for the run's end; returns the run and its final state."""
    context, ids = context_of(request), run_ids(request.path_params)
    query = query_model(request, RunJoin)
    followed = await runs.join(context, *ids, START)
    return final_output(
        context,
        followed,
        "wait",
        cancels=query.cancel_on_disconnect,
        output=lambda end: operations.run_result(context, followed, end),
    )
