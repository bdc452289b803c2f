"""`/a2a/{assistant_id}` and the cards of agents: the routes of A2A; its server is made with the first request."""

import hashlib
import importlib.util
from email.utils import formatdate
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import answer, query_model, read_body, settings_of
from millstream.api.http.problems import problem
from millstream.api.http.public_url import public_url
from millstream.api.http.schema_base import QueryModel
from millstream.api.lazy_import import load
from millstream.shared.assistants import GraphDirectory, Resolved
from millstream.shared.errors import InvalidError

MISSING = 'A2A is not installed here: pip install "millstream[a2a]".'


CACHED: Final = 60  # s for which a client need not look at a card again


class CardQuery(QueryModel):
    """Query of `GET /.well-known/agent-card.json`."""

    assistant_id: str | None = None  # None: the one of A2A_ASSISTANT, or of the only graph


async def _resolved(request: Request, assistant_id: str) -> Resolved:
    directory: GraphDirectory = request.app.state.graphs
    return await directory.resolve(assistant_id)


async def post(request: Request) -> Response:
    """`POST /a2a/{assistant_id}`: a call of the Agent2Agent protocol, 1.0 or 0.3, as JSON-RPC."""
    if importlib.util.find_spec("a2a") is None:
        return problem(404, MISSING)
    # It is imported here: a second, and memory, for those alone who use it.
    await load("millstream.api.a2a.rpc")
    from millstream.api.a2a.rpc import answer as answered

    resolved = await _resolved(request, request.path_params["assistant_id"])
    return await answered(request, resolved, await read_body(request))


async def card(request: Request) -> Response:
    """`GET /.well-known/agent-card.json`: the card of the agent `assistant_id`, or of the server's only one."""
    asked = query_model(request, CardQuery).assistant_id
    return await _card(request, asked or await _default(request))


async def _default(request: Request) -> str:
    """Returns the assistant that stands for the whole server; raises InvalidError if there is none."""
    configured = settings_of(request).a2a_assistant
    if configured:
        return configured
    directory: GraphDirectory = request.app.state.graphs
    graphs = await directory.all()
    if len(graphs) == 1:
        return graphs[0].graph_id
    raise InvalidError(
        f"assistant_id: Field required: there are {len(graphs)} graphs here, and A2A_ASSISTANT names none"
    )


async def card_of(request: Request) -> Response:
    """`GET /a2a/{assistant_id}/.well-known/agent-card.json`: the same, where clients look by themselves."""
    return await _card(request, request.path_params["assistant_id"])


async def _card(request: Request, assistant_id: str) -> Response:
    if importlib.util.find_spec("a2a") is None:
        return problem(404, MISSING)
    await load("millstream.api.a2a.card")
    from millstream.api.a2a.card import card as made

    resolved = await _resolved(request, assistant_id)
    url = f"{public_url(request)}/a2a/{resolved.assistant.assistant_id}"
    shown = answer(made(resolved, url))
    shown.headers["cache-control"] = f"max-age={CACHED}"
    shown.headers["etag"] = f'"{hashlib.sha256(shown.body).hexdigest()[:32]}"'
    shown.headers["last-modified"] = formatdate(resolved.record.updated_at / 1e6, usegmt=True)
    if request.headers.get("if-none-match") == shown.headers["etag"]:
        headers = {name: shown.headers[name] for name in ("cache-control", "etag")}
        return Response(status_code=304, headers=headers)
    return shown
