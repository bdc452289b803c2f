"""Everything around the API, as `http` of langgraph.json says: CORS, a line in the log a request, a prefix, and the
routes of a project's own application.

From outside in: the log, CORS, the prefix, the project's middleware, its routes, and then the API's.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millstream.api.http import openapi
from millstream.shared.errors import SettingError
from millstream.shared.importing import load_object
from millstream.shared.langgraph_json import enter, read_project
from millstream.shared.langgraph_json.http import Cors, HeaderFilter, HttpSettings
from millstream.shared.own_api import connect_sdk

log = logging.getLogger(__name__)

EXPOSED: Final = (
    "Content-Location", "Location", "Retry-After", "X-Pagination-Total", "X-Pagination-Next",
)  # fmt: skip
DESCRIPTIONS: Final = ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc")  # FastAPI's own


def load(config: Path | None) -> tuple[HttpSettings, Starlette | None]:
    """Returns `http` of the project, and its application; of no project, what holds without one.

    Raises SettingError that says what is wrong and where.
    """
    if config is None:
        return HttpSettings(), None
    project = read_project(config)
    http = project.config.http
    notes = project.notes
    if http.app is not None:
        notes += enter(project)
    for note in notes:
        log.warning("%s", note)
    if http.app is None:
        return http, None
    connect_sdk()
    app = load_object(http.app, project.folder, "http.app")
    if not isinstance(app, Starlette):  # FastAPI is one
        raise SettingError(
            f"http.app: {http.app!r} is a {type(app).__name__}, not a Starlette or FastAPI application."
        )
    return http, app


def wrap_app(api: Starlette, http: HttpSettings, own: Starlette | None) -> ASGIApp:
    """Returns the application that the process serves."""
    app: ASGIApp = api if own is None else _joined(own, api)
    if http.prefix:
        app = _under(http.prefix, app, api, lives=api if own is None else own)
    app = _cors(app, http.cors)
    if http.logging_headers is not None:
        app = RequestLog(app, http.logging_headers)
    return app


def _joined(own: Starlette, api: Starlette) -> Starlette:
    """Returns the project's application with the API behind its own routes.

    Its middleware is asked for all requests, its error handlers for its own routes only. Both live as long.
    """
    describe = getattr(
        own, "openapi", None
    )  # FastAPI describes itself; here the API does it for both
    if describe is not None:
        own.router.routes[:] = [
            route for route in own.router.routes if getattr(route, "path", "") not in DESCRIPTIONS
        ]
        openapi.describe_too(api, describe)
    theirs = own.router.lifespan_context

    @asynccontextmanager
    async def both(app: Starlette) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(api.router.lifespan_context(api))
            yield await stack.enter_async_context(theirs(app))

    own.router.lifespan_context = both
    own.router.routes.append(Mount("", app=api))
    return own


def _under(prefix: str, app: ASGIApp, api: Starlette, *, lives: Starlette) -> Starlette:
    """Returns the application under a prefix; `/ok` stays where it is too, for probes.

    The places that answers name stay without it: the SDKs take them as relative to their own URL, which has it.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[Any]:
        async with lives.router.lifespan_context(lives) as state:
            yield state

    return Starlette(routes=[Mount(prefix, app=app), Route("/ok", api)], lifespan=lifespan)


def _cors(app: ASGIApp, cors: Cors) -> ASGIApp:
    if cors.allow_credentials and cors.allows_all:
        log.warning(
            "http.cors: allow_credentials is left out, for with all origins every page could act as its visitor. "
            "Name the pages in allow_origins."
        )
    return PageAccess(
        app,
        allow_origins=cors.origins,
        allow_methods=cors.allow_methods,
        allow_headers=cors.allow_headers,
        allow_credentials=cors.allow_credentials and not cors.allows_all,
        allow_origin_regex=cors.allow_origin_regex,
        allow_private_network=True,
        expose_headers=[*EXPOSED, *(name for name in cors.expose_headers if name not in EXPOSED)],
        max_age=cors.max_age,
    )


class PageAccess(CORSMiddleware):
    """CORS. Pages that may call may also call from the internet into a private network.

    Source: Private Network Access (WICG), which Chrome asks about before a public page calls this machine.
    """

    def preflight_response(self, request_headers: Headers) -> Response:
        """Returns the answer to a preflight; a page that may not call is told nothing of the network."""
        response = super().preflight_response(request_headers)
        if not self.is_allowed_origin(request_headers["origin"]):
            del response.headers["access-control-allow-private-network"]
        return response


class RequestLog:
    """Says of each request, once its answer has begun, what it was, and the headers that were asked for."""

    def __init__(self, app: ASGIApp, headers: HeaderFilter) -> None:
        """`headers` chooses the headers that are logged."""
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                chosen = self._headers.chosen(HTTPConnection(scope).headers.items())
                shown = "".join(f" {name}={value!r}" for name, value in chosen.items())
                took = round((time.monotonic() - begun) * 1000)
                log.info(
                    "%s %s %s in %s ms%s",
                    scope["method"], scope["raw_path"].decode("ascii", "replace"),
                    message["status"], took, shown,
                )  # fmt: skip
            await send(message)

        await self._app(scope, receive, noting)
