"""The headers of trusted proxies replace the request's scheme and client; others are ignored."""

from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from millstream.api.http.public_url import ProxyHeaders

SAID = {
    "X-Forwarded-For": "203.0.113.9, 10.0.0.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "agents.example",
    "X-Forwarded-Prefix": "/api",
}


async def seen(
    headers: dict[str, str],
    *,
    peer: str = "10.0.0.7",
    trusted: str = "127.0.0.1,10.0.0.0/8",
    mounted: str = "",
    path: str = "/ok",
    kind: str = "http",
) -> Scope:
    """Returns the scope that the application gets for a request from that peer."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    scope: Scope = {
        "type": kind,
        "scheme": "ws" if kind == "websocket" else "http",
        "client": (peer, 1234),
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"api:2024"),
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        ],
    }
    await ProxyHeaders(app, trusted, mounted)(scope, nothing, nothing)
    return scopes[0]


def base(scope: Scope) -> str:
    return str(HTTPConnection(scope).base_url)


@pytest.mark.parametrize("trusted", ["10.0.0.7", "10.0.0.0/8", "*", "::1, 10.0.0.7"])
async def test_headers_of_a_trusted_proxy_are_used(trusted: str) -> None:
    scope = await seen(SAID, trusted=trusted)
    assert base(scope) == "https://agents.example/api/"
    assert (scope["path"], scope["raw_path"]) == ("/api/ok", b"/api/ok")
    assert scope["client"][0] == "203.0.113.9"


@pytest.mark.parametrize("trusted", ["127.0.0.1,::1", "10.0.0.8", "10.1.0.0/16"])
async def test_headers_of_another_peer_are_ignored(trusted: str) -> None:
    scope = await seen(SAID, trusted=trusted)
    assert base(scope) == "http://api:2024/"
    assert (scope["path"], scope["client"]) == ("/ok", ("10.0.0.7", 1234))


async def test_a_websocket_gets_a_websocket_scheme() -> None:
    scope = await seen({"X-Forwarded-Proto": "https"}, kind="websocket")
    assert scope["scheme"] == "wss"


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"X-Forwarded-Host": "a.example:8443"}, "http://a.example:8443/"),
        ({"X-Forwarded-Host": "[2001:db8::1]:8443"}, "http://[2001:db8::1]:8443/"),
        ({"X-Forwarded-Host": "a.example, inner"}, "http://a.example/"),
        ({"X-Forwarded-Proto": "HTTPS, http"}, "https://api:2024/"),
        ({"X-Forwarded-Prefix": "/one, /two/"}, "http://api:2024/one/two/"),
        ({"X-Forwarded-Prefix": "/"}, "http://api:2024/"),
        # Invalid values:
        ({"X-Forwarded-Host": "a.example/x"}, "http://api:2024/"),
        ({"X-Forwarded-Host": "a b"}, "http://api:2024/"),
        ({"X-Forwarded-Host": ""}, "http://api:2024/"),
        ({"X-Forwarded-Proto": "gopher"}, "http://api:2024/"),
        ({"X-Forwarded-Prefix": "https://evil.example"}, "http://api:2024/"),
        ({"X-Forwarded-Prefix": "//evil.example"}, "http://api:2024/"),
        ({"X-Forwarded-Prefix": "/a?b"}, "http://api:2024/"),
        ({"X-Forwarded-Prefix": "/ü"}, "http://api:2024/"),
    ],
)
async def test_each_header_is_used_alone(headers: dict[str, str], url: str) -> None:
    assert base(await seen(headers)) == url


async def test_the_own_prefix_is_not_added_twice() -> None:
    scope = await seen({"X-Forwarded-Prefix": "/agents"}, mounted="/agents", path="/agents/ok")
    assert (scope["path"], base(scope)) == ("/agents/ok", "http://api:2024/")
    scope = await seen({"X-Forwarded-Prefix": "/api"}, mounted="/agents", path="/agents/ok")
    assert (scope["path"], base(scope)) == ("/api/agents/ok", "http://api:2024/api/")
