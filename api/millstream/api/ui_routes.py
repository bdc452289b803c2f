"""Generative UI (`ui` of langgraph.json): not served, and it says so.

Its components are bundled by LangGraph's own server with a JavaScript tool chain, which neither image has.
Source of the route: the npm SDK's `LoadExternalComponent`.
"""

from starlette.requests import Request
from starlette.responses import Response

from millstream.shared.errors import NotFoundError


async def component(_: Request) -> Response:
    """`POST /ui/{assistant_id}`: 404, with what to do instead."""
    raise NotFoundError(
        "Components of `ui` in langgraph.json are not built or served here: bundle them with the page, and give "
        "them to LoadExternalComponent as `components`."
    )
