"""The route of generative UI (`ui` of langgraph.json), which is not supported.

LangGraph's server bundles its components with a JavaScript tool chain, which neither image has.
Source of the route: the npm SDK's `LoadExternalComponent`.
"""

from starlette.requests import Request
from starlette.responses import Response

from millstream.shared.errors import NotFoundError


async def component(_: Request) -> Response:
    """`POST /ui/{assistant_id}`: Not supported (404): the error says what to do instead."""
    raise NotFoundError(
        "Components of `ui` in langgraph.json are not built or served here: bundle them with the page, and give "
        "them to LoadExternalComponent as `components`."
    )
