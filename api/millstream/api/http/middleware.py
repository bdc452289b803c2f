"""Wraps the API by `http` of langgraph.json: CORS, a prefix, the project's application.

Order from the outside in: the guard, CORS, the prefix, the project's middleware, its routes, the API's routes.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Match, Mount, Route
from starlette.types import ASGIApp, Scope

from millstream.api.auth.middleware import AuthenticationMiddleware
from millstream.api.http import docs_page
from millstream.api.http.context import process_of_scope
from millstream.api.http.limits import CallerLimitsMiddleware
from millstream.api.http.page_access import PageAccess, RequestGuard, with_cors
from millstream.api.process import Process
from millstream.shared.errors import SettingError
from millstream.shared.importing import load_object
from millstream.shared.langgraph_json import enter, read_project
from millstream.shared.langgraph_json.auth import AuthConfig
from millstream.shared.langgraph_json.http import Cors, HttpSettings
from millstream.shared.own_api import connect_sdk
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)

EXPOSED: Final = (
    "Content-Location", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Pagination-Total",
    "X-Pagination-Next", "X-Request-Id",
)  # fmt: skip
DESCRIPTIONS: Final = ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc")  # of FastAPI


class ProjectParts(NamedTuple):
    """What an API reads of a project: `http` and `auth` of its langgraph.json, and its application."""

    http: HttpSettings
    app: Starlette | None = None
    auth: AuthConfig | None = None


def load(config: Path | None, settings: Settings) -> ProjectParts:
    """Returns the parts of the project. Without a project, returns the defaults.

    Raises SettingError with the wrong key.
    """
    if config is None:
        return ProjectParts(with_cors(HttpSettings(), settings))
    project = read_project(config)
    http = with_cors(project.config.http, settings)
    notes = project.notes
    if http.app is not None:
        notes += enter(project)
    for note in notes:
        log.warning("%s", note)
    if http.app is None:
        return ProjectParts(http, auth=project.config.auth)
    connect_sdk()
    app = load_object(http.app, project.folder, "http.app")
    if not isinstance(app, Starlette):  # FastAPI is one
        raise SettingError(
            f"http.app: {http.app!r} is a {type(app).__name__}, not a Starlette or FastAPI application."
        )
    return ProjectParts(http, app, project.config.auth)


def wrap_app(
    api: Starlette, http: HttpSettings, project_app: Starlette | None, settings: Settings
) -> ASGIApp:
    """Returns the application that the process serves."""
    app: ASGIApp = api if project_app is None else _join(project_app, api, http)
    if http.prefix:
        app = _mount_under(
            http.prefix, app, api, lifespan_of=api if project_app is None else project_app
        )
    return RequestGuard(_add_cors(app, http.cors), http.cors, settings)


def _join(project_app: Starlette, api: Starlette, http: HttpSettings) -> Starlette:
    """Returns the project's application with the API's routes after its own.

    Its middleware runs for all requests, its error handlers for its own routes only. Both lifespans are the same.
    """
    # FastAPI describes itself; here the API's description covers both.
    describe = getattr(project_app, "openapi", None)
    if describe is not None:
        project_app.router.routes[:] = [
            route
            for route in project_app.router.routes
            if getattr(route, "path", "") not in DESCRIPTIONS
        ]
        docs_page.describe_too(api, describe)
    project_lifespan = project_app.router.lifespan_context

    @asynccontextmanager
    async def both(app: Starlette) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(api.router.lifespan_context(api))
            yield await stack.enter_async_context(project_lifespan(app))

    project_app.router.lifespan_context = both
    _authenticate(project_app, api, http)
    project_app.router.routes.append(Mount("", app=api))
    return project_app


def _authenticate(project_app: Starlette, api: Starlette, http: HttpSettings) -> None:
    """Adds the authentication to the project's application, if its routes need it or its middleware comes after it.

    The API authenticates requests of its own routes in any case, but once.
    """
    is_first = http.middleware_order == "auth_first"
    if not (http.enable_custom_route_auth or is_first):
        return
    own_routes = list(project_app.router.routes)

    def is_own(scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in own_routes)

    enabled = http.enable_custom_route_auth

    def process_of(_: Scope) -> Process:
        return process_of_scope({"app": api})

    added = [
        # Limits first, as in the API: bodies that an authenticator reads count, and invalid credentials too.
        Middleware(CallerLimitsMiddleware, process_of=process_of),
        Middleware(
            AuthenticationMiddleware,
            process_of=process_of,
            routes=lambda: [*own_routes, *api.router.routes],
            is_exempt=lambda scope: not enabled and is_own(scope),
            # Such as a route below /docs/, where the API's own files are open.
            is_closed=lambda scope: enabled and is_own(scope),
        ),
    ]
    index = 0 if is_first else len(project_app.user_middleware)
    project_app.user_middleware[index:index] = added


def _mount_under(prefix: str, app: ASGIApp, api: Starlette, *, lifespan_of: Starlette) -> Starlette:
    """Returns the application under a prefix. `/ok` is served without the prefix too, for probes.

    `Location` headers have no prefix: the SDKs resolve them against their own URL, which has it.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[Any]:
        async with lifespan_of.router.lifespan_context(lifespan_of) as state:
            yield state

    return Starlette(routes=[Mount(prefix, app=app), Route("/ok", api)], lifespan=lifespan)


def _add_cors(app: ASGIApp, cors: Cors) -> ASGIApp:
    if cors.allow_credentials and cors.allows_all:
        log.warning(
            "http.cors: allow_credentials is ignored, because with all origins every page could act as its visitor. "
            "List the origins in allow_origins."
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
