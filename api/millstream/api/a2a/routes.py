"""`/a2a/{assistant_id}` and the cards of agents: the routes of A2A. The first request imports its server."""

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

MISSING: Final = 'A2A is not installed here: pip install "millstream[a2a]".'
CARD_MAX_AGE: Final = 60  # s for which clients may cache a card


async def post(request: Request) -> Response:
    """`POST /a2a/{assistant_id}`: Executes a call of the Agent2Agent protocol, 1.0 or 0.3, in JSON-RPC."""
    if importlib.util.find_spec("a2a") is None:
        return problem(404, MISSING)
    # Imported here, because it takes a second, and memory, which only users of A2A should pay.
    await load("millstream.api.a2a.rpc")
    from millstream.api.a2a.rpc import answer_call

    context = context_of(request)
    resolved = await assistants.resolve(context, request.path_params["assistant_id"])
    body = await read_body(request)
    return await answer_call(context, resolved, body, request.headers, request.query_params)


async def default_card(request: Request) -> Response:
    """`GET /.well-known/agent-card.json`: Returns the card of the agent `assistant_id`, or of the default agent."""
    assistant_id = query_model(request, CardQuery).assistant_id
    return await _card(request, assistant_id or await _default(context_of(request)))


async def _default(context: RequestContext) -> str:
    """Returns the server's default agent. Raises InvalidError if it has none."""
    configured = context.settings.a2a_assistant
    if configured:
        return configured
    graphs = await assistants.graph_ids(context)
    if len(graphs) == 1:
        return graphs[0]
    raise InvalidError(
        f"assistant_id: Field required: there are {len(graphs)} graphs here, and A2A_ASSISTANT is not set"
    )


async def card(request: Request) -> Response:
    """`GET /a2a/{assistant_id}/.well-known/agent-card.json`: Returns the agent's card, below its own path."""
    return await _card(request, request.path_params["assistant_id"])


async def _card(request: Request, assistant_id: str) -> Response:
    if importlib.util.find_spec("a2a") is None:
        return problem(404, MISSING)
    await load("millstream.api.a2a.card")
    from millstream.api.a2a.card import make_card

    resolved = await assistants.resolve(context_of(request), assistant_id)
    url = f"{public_url(request)}/a2a/{resolved.assistant.assistant_id}"
    response = json_response(make_card(resolved, url))
    response.headers["cache-control"] = f"max-age={CARD_MAX_AGE}"
    response.headers["etag"] = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    response.headers["last-modified"] = formatdate(resolved.record.updated_at / 1e6, usegmt=True)
    if request.headers.get("if-none-match") == response.headers["etag"]:
        headers = {name: response.headers[name] for name in ("cache-control", "etag")}
        return Response(status_code=304, headers=headers)
    return response
