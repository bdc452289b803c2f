"""The URL at which clients reach the API, from settings or from the headers of trusted proxies.

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
    """Restores the client's request from the headers of trusted proxies. Headers of other peers have no effect.

    `X-Forwarded-For` and `X-Forwarded-Proto` hold the client's address and scheme, `X-Forwarded-Host` the host that
    it requested, `X-Forwarded-Prefix` the part of its path that a proxy removed. A malformed value is ignored.
    """

    def __init__(self, app: ASGIApp, trusted: str, mounted: str) -> None:
        """`trusted` is FORWARDED_ALLOW_IPS; `mounted` is the application's own prefix."""
        self._app = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type]
        self._mounted = mounted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forwards the request as the client sent it."""
        if scope["type"] != "lifespan":
            peer = (scope.get("client") or (None,))[0]
            if peer in self._app.trusted_hosts:
                self._restore(scope)
        await self._app(scope, receive, send)  # type: ignore[arg-type]

    def _restore(self, scope: Scope) -> None:
        forwarded: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name.startswith(b"x-forwarded-"):
                forwarded.setdefault(name, []).extend(
                    each.strip() for each in value.decode("latin-1").split(",")
                )
        # Of a chain of proxies, the first one knows the client's request.
        replaced = {}
        if (host := forwarded.get(b"x-forwarded-host")) and HOST.fullmatch(host[0]):
            replaced[b"host"] = host[0].encode()
        if scheme := forwarded.get(b"x-forwarded-proto"):
            replaced[b"x-forwarded-proto"] = scheme[0].lower().encode("latin-1")
        if replaced:
            headers = [pair for pair in scope["headers"] if pair[0] not in replaced]
            scope["headers"] = [*headers, *replaced.items()]
        # Each proxy removed its own part.
        prefix = "".join(part.rstrip("/") for part in forwarded.get(b"x-forwarded-prefix", ()))
        # A proxy that names the application's own prefix has left it in the path.
        if prefix and prefix != self._mounted and PREFIX.fullmatch(prefix):
            scope["root_path"] = prefix + scope.get("root_path", "")
            scope["path"] = prefix + scope["path"]
            scope["raw_path"] = prefix.encode() + scope.get("raw_path", b"")


def public_url(request: HTTPConnection) -> str:
    """Returns the API's URL for the client, with its prefix and without a slash at the end."""
    process = process_of(request)
    configured = process.settings.public_url
    if configured:
        return configured.rstrip("/")
    return str(request.base_url).rstrip("/") + process.http.prefix
