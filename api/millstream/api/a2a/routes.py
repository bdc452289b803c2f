"""`/a2a/{assistant_id}` and the cards of agents: the routes of A2A; its server is made with the first request."""

import hashlib
import importlib.util
from email.utils import formatdate
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.a2a.schemas import CardQuery
from millstream.api.assistants import operations as assistants
from millstream.api.context import RequestContext
from millstream.api.http.body import json_response, query_model, read_body
from millstream.api.http.context import context_of
from millstream.api.http.problems import problem
from millstream.api.http.public_url import public_url
from millstream.api.lazy_import import load
from millstream.shared.errors import InvalidError

MISSING = 'A2A is not installed here: pip install "millstream[a2a]".'


CACHED: Final = 60  # s for which a client need not look at a card again


async def post(request: Request) -> Response:
    """`POST /a2a/{assistant_id}`: Executes a call of the Agent2Agent protocol, 1.0 or 0.3, in JSON-RPC."""
    if importlib.util.find_spec("a2a") is None:
        return problem(404, MISSING)
    # It is imported here: a second, and memory, for those alone who use it.
    await load("millstream.api.a2a.rpc")
    from millstream.api.a2a.rpc import answer as answer_call

    context = context_of(request)
    resolved = await assistants.resolve(context, request.path_params["assistant_id"])
    body = await read_body(request)
    return await answer_call(context, resolved, body, request.headers, request.query_params)


async def card(request: Request) -> Response:
    """`GET /.well-known/agent-card.json`: Returns the card of the agent `assistant_id`, or of the default agent."""
    asked = query_model(request, CardQuery).assistant_id
    return await _card(request, asked or await _default(context_of(request)))


async def _default(context: RequestContext) -> str:
    """Returns the assistant that stands for the whole server; raises InvalidError if there is none."""
    configured = context.settings.a2a_assistant
    if configured:
        return configured
    graphs = await assistants.graph_ids(context)
    if len(graphs) == 1:
        return graphs[0]
    raise InvalidError(
        f"assistant_id: Field required: there are {len(graphs)} graphs here, and A2A_ASSISTANT names none"
    )


async def card_of(request: Request) -> Response:
    """`GET /a2a/{assistant_id}/.well-known/agent-card.json`: Returns the agent's card, below its own path."""
    return await _card(request, request.path_params["assistant_id"])


async def _card(request: Request, assistant_id: str) -> Response:
    if importlib.util.find_spec("a2a") is None:
        return problem(404, MISSING)
    await load("millstream.api.a2a.card")
    from millstream.api.a2a.card import card as made

    resolved = await assistants.resolve(context_of(request), assistant_id)
    url = f"{public_url(request)}/a2a/{resolved.assistant.assistant_id}"
    shown = json_response(made(resolved, url))
    shown.headers["cache-control"] = f"max-age={CACHED}"
    shown.headers["etag"] = f'"{hashlib.sha256(shown.body).hexdigest()[:32]}"'
    shown.headers["last-modified"] = formatdate(resolved.record.updated_at / 1e6, usegmt=True)
    if request.headers.get("if-none-match") == shown.headers["etag"]:
        headers = {name: shown.headers[name] for name in ("cache-control", "etag")}
        return Response(status_code=304, headers=headers)
    return shown
