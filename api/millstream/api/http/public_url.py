"""Where clients reach the API: what trusted proxies say of it, and the URL that answers name.

Source of the headers: what nginx, Traefik, HAProxy, Caddy and Envoy send; uvicorn for `X-Forwarded-For` and `-Proto`.
"""

import re
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from millstream.api.http.context import process_of

HOST: Final = re.compile(r"[\w.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", re.ASCII)
PREFIX: Final = re.compile(r"(/[\w.~-]+)+", re.ASCII)


class ProxyHeaders:
    """Believes what proxies that are trusted say of the client's request; of others, the headers do nothing.

    `X-Forwarded-For` and `X-Forwarded-Proto` give the client's address and scheme, `X-Forwarded-Host` the host that
    it named, `X-Forwarded-Prefix` the part of its path that a proxy took away. What is malformed is left out.
    """

    def __init__(self, app: ASGIApp, trusted: str, mounted: str) -> None:
        """Args: the application; FORWARDED_ALLOW_IPS; the prefix under which the application lies by itself."""
        self._app = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type]
        self._mounted = mounted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, as the client sent it."""
        if scope["type"] != "lifespan":
            peer = (scope.get("client") or (None,))[0]
            if peer in self._app.trusted_hosts:
                self._restore(scope)
        await self._app(scope, receive, send)  # type: ignore[arg-type]

    def _restore(self, scope: Scope) -> None:
        said: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name.startswith(b"x-forwarded-"):
                said.setdefault(name, []).extend(
                    each.strip() for each in value.decode("latin-1").split(",")
                )
        # Of a chain of proxies the first one knows what the client said.
        replaced = {}
        if (host := said.get(b"x-forwarded-host")) and HOST.fullmatch(host[0]):
            replaced[b"host"] = host[0].encode()
        if scheme := said.get(b"x-forwarded-proto"):
            replaced[b"x-forwarded-proto"] = scheme[0].lower().encode("latin-1")
        if replaced:
            kept = [pair for pair in scope["headers"] if pair[0] not in replaced]
            scope["headers"] = [*kept, *replaced.items()]
        # Each proxy took away its own part.
        prefix = "".join(part.rstrip("/") for part in said.get(b"x-forwarded-prefix", ()))
        # One that names the application's own prefix has left it in the path.
        if prefix and prefix != self._mounted and PREFIX.fullmatch(prefix):
            scope["root_path"] = prefix + scope.get("root_path", "")
            scope["path"] = prefix + scope["path"]
            scope["raw_path"] = prefix.encode() + scope.get("raw_path", b"")


def public_url(request: HTTPConnection) -> str:
    """Returns where the client reaches the API, with the prefix under which it lies, without a slash at the end."""
    process = process_of(request)
    configured = process.settings.public_url
    if configured:
        return configured.rstrip("/")
    return str(request.base_url).rstrip("/") + process.http.prefix
