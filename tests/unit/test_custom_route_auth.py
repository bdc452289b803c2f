"""`http.enable_custom_route_auth` and `http.middleware_order`: where the project's routes meet the authentication."""

from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from millstream.api.auth.authentication import Authentication, AuthRequest
from millstream.api.auth.middleware import AuthenticationMiddleware
from millstream.api.http.context import USER, attach
from millstream.api.http.middleware import wrap_app
from millstream.api.limits.caller_limits import ProcessLimits
from millstream.api.limits.rates import RateLimiter
from millstream.api.process import Process
from millstream.shared.access import User
from millstream.shared.langgraph_json.http import HttpSettings
from millstream.shared.settings import Settings


class Tokens:
    """Knows one token, and counts its questions."""

    def __init__(self) -> None:
        self.paths: list[tuple[str, dict[str, Any]]] = []

    async def authenticate(self, request: AuthRequest) -> User | None:
        self.paths.append((request.url.path, request.path_params))
        if request.headers.get("authorization") != "Bearer ann":
            return None
        return User.of({"identity": "ann", "permissions": ["read"], "team": "blue"})


class Order:
    """The project's middleware: notes whether a user was known before it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["was_known"] = USER in scope
        await self._app(scope, receive, send)


async def custom(request: Request) -> Response:
    user = request.user.identity if USER in request.scope else None
    return JSONResponse({"user": user, "known": request.scope.get("was_known")})


async def of_api(request: Request) -> Response:
    return JSONResponse({"user": request.scope[USER].identity})


def client(http: HttpSettings, tokens: Tokens) -> httpx.AsyncClient:
    settings = Settings(max_body=100, rate_of_failed_auth="1/h burst 4")
    process = SimpleNamespace(
        auth=Authentication(authenticators=[tokens]),
        settings=settings,
        limits=ProcessLimits(RateLimiter(None, settings), settings),
    )
    routes: list[BaseRoute] = [Route("/threads/{thread_id}", of_api)]
    api = Starlette(
        routes=routes,
        middleware=[
            Middleware(
                AuthenticationMiddleware,
                process_of=lambda scope: scope["app"].state.process,
                routes=lambda: routes,
            )
        ],
    )
    attach(api, cast("Process", process))
    project = Starlette(
        routes=[Route("/mine/{name}", custom), Route("/docs/{name}", custom)],
        middleware=[Middleware(Order)],
    )
    app = wrap_app(api, http, project, Settings())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("order", ["middleware_first", "auth_first"])
@pytest.mark.parametrize("enabled", [False, True])
async def test_custom_routes_need_a_user_if_enabled(enabled: bool, order: Any, prefix: str) -> None:
    tokens = Tokens()
    http = HttpSettings(
        enable_custom_route_auth=enabled, middleware_order=order, mount_prefix=prefix
    )
    async with client(http, tokens) as web:
        below_docs = await web.get(f"{prefix}/docs/x")  # where the API's own files are open
        assert below_docs.status_code == (401 if enabled else 200)
        nobody = await web.get(f"{prefix}/mine/x")
        assert nobody.status_code == (401 if enabled else 200)
        if enabled:
            assert nobody.headers["www-authenticate"] == "Bearer"
        headers = {"authorization": "Bearer ann"}
        body = (await web.get(f"{prefix}/mine/x", headers=headers)).json()
        known = enabled and order == "auth_first"
        assert body == {"user": "ann" if enabled else None, "known": known}
        # The API needs one in any case, and asks once.
        for path in ("/threads/t", "/unknown"):
            assert (await web.get(f"{prefix}{path}")).status_code == 401
        tokens.paths.clear()
        response = await web.get(f"{prefix}/threads/t", headers=headers)
        assert response.json() == {"user": "ann"}
        assert tokens.paths == [(f"{prefix}/threads/t", {"thread_id": "t"})]


class Bodies(Tokens):
    """Reads the body before it looks at the token."""

    async def authenticate(self, request: AuthRequest) -> User | None:
        await request.body()
        return await super().authenticate(request)


@pytest.mark.parametrize("path", ["/mine/x", "/threads/t"])
@pytest.mark.parametrize("order", ["middleware_first", "auth_first"])
async def test_limits_hold_before_the_projects_routes(order: Any, path: str) -> None:
    http = HttpSettings(enable_custom_route_auth=True, middleware_order=order)
    headers = {"authorization": "Bearer ann"}
    async with client(http, Bodies()) as web:
        assert (await web.post(path, headers=headers, content=b"x" * 100)).status_code != 413
        assert (await web.post(path, headers=headers, content=b"x" * 101)).status_code == 413
        statuses = [(await web.post(path)).status_code for _ in range(5)]
        assert statuses == [401, 401, 401, 401, 429]
        assert (await web.get(path, headers=headers)).status_code == 200


async def test_a_projects_middleware_can_not_set_the_user() -> None:
    class Forge:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            scope["user"] = User.of({"identity": "admin"})  # Starlette's name
            await self._app(scope, receive, send)

    tokens = Tokens()
    async with client(HttpSettings(), tokens) as web:
        transport = cast("httpx.ASGITransport", web._transport)
        transport.app = Forge(transport.app)
        assert (await web.get("/threads/t")).status_code == 401
