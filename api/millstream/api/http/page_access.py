"""Which web pages may call the API, and by which host names.

Browsers send requests of any page to any server. CORS decides whether a page may read a response; a server that
executes a page's requests before it refuses the response still runs graphs for that page. So requests of other pages
are refused before they reach a route. With DNS rebinding a page is at the server's own address under another name: the
names are restricted where the address is known, as in `millstream dev`. See docs/http.md.
"""

import logging
from typing import Final
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from millstream.api.http.problems import problem
from millstream.shared.langgraph_json.http import Cors, HttpSettings
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
MAX_LOGGED: Final = 100  # origins and hosts that are logged, each once


def with_cors(http: HttpSettings, settings: Settings) -> HttpSettings:
    """Returns `http` with the CORS of the settings, if langgraph.json has no `http.cors`."""
    if http.cors != Cors():
        return http
    origins = [part.strip() for part in settings.cors_allow_origins.split(",") if part.strip()]
    cors = Cors(allow_origins=origins, allow_origin_regex=settings.cors_allow_origin_regex or None)
    return msgspec.structs.replace(http, cors=cors)


def is_local(origin: str) -> bool:
    """Returns whether the page is served on the visitor's own machine."""
    try:
        url = urlsplit(origin)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and url.hostname in LOCAL_HOSTS and url.path == ""


def origin_of(url: str) -> str:
    """Returns the origin of a URL; '' for ''."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


class RequestGuard:
    """Refuses requests of pages that may not call the API, and requests under host names that are not the API's."""

    def __init__(self, app: ASGIApp, cors: Cors, settings: Settings) -> None:
        """`cors` are the pages that may call."""
        self._app = app
        self._cors = cors
        self._hosts = [part.strip().lower() for part in settings.allowed_hosts.split(",")]
        self._own_origin = origin_of(settings.public_url)
        self._logged: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forwards the request, or responds 403. A WebSocket's origin is checked by its route."""
        error = ""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            error = self._host_error(headers.get("host", ""))
            if not error and scope["type"] == "http":
                error = self._origin_error(scope["method"], headers)
        if not error:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4403, "reason": ""})  # HTTP 403
        else:
            await problem(403, error)(scope, receive, send)

    def _host_error(self, host: str) -> str:
        if "*" in self._hosts:
            return ""
        name = _host_name(host)
        if any(
            name.endswith(each[1:]) if each.startswith("*.") else name == each
            for each in self._hosts
        ):
            return ""
        return self._note(
            f"host: {name[:200]!r} is not a name of this server. Add it to MILLSTREAM_ALLOWED_HOSTS."
        )

    def _origin_error(self, method: str, headers: Headers) -> str:
        origin = headers.get("origin")
        if (
            origin is None
            or (method == "OPTIONS" and "access-control-request-method" in headers)
            or self._cors.allows(origin)
            or is_local(origin)
            or (self._own_origin and origin == self._own_origin)
            or _netloc(origin) == headers.get("host", "").lower()
        ):
            return ""
        return self._note(
            f"origin: pages of {origin[:200]!r} may not call this server. Add the origin to CORS_ALLOW_ORIGINS, or "
            "to http.cors.allow_origins of langgraph.json."
        )

    def _note(self, error: str) -> str:
        if error not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(error)
            log.warning("A request was refused. %s", error)
        return error


def _netloc(origin: str) -> str:
    """Returns host and port of an origin, in lower case; '' for an opaque or invalid one."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _host_name(host: str) -> str:
    """Returns a Host header without its port, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


class PageAccess(CORSMiddleware):
    """CORS that also lets allowed pages call from the internet into a private network.

    Source: Private Network Access (WICG). Chrome sends its preflight before a public page calls a private address.
    """

    def preflight_response(self, request_headers: Headers) -> Response:
        """Returns the response to a preflight, without the private network's header for other origins."""
        response = super().preflight_response(request_headers)
        if not self.is_allowed_origin(request_headers["origin"]):
            del response.headers["access-control-allow-private-network"]
        return response
