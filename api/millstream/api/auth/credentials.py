"""Reads the credentials of a request: bearer tokens, `x-api-key`, and a subprotocol of browsers' WebSockets.

Credentials in a URL are not read: logs of proxies and the history of browsers keep URLs.
"""

from typing import Final

from starlette.requests import HTTPConnection

from millstream.shared.errors import UnauthenticatedError

MAX_TOKEN_CHARS: Final = 16_384
API_KEY_HEADER: Final = "x-api-key"
# Pages can't set headers of a WebSocket's handshake. They offer two subprotocols, `millstream` and
# `bearer.<credentials>`; the server accepts the first, so that no response repeats the credentials.
SUBPROTOCOL: Final = "millstream"
SUBPROTOCOL_CREDENTIALS: Final = "bearer."


def bearer_token(request: HTTPConnection) -> str | None:
    """Returns the bearer token; None without one, or if another scheme is used.

    Raises UnauthenticatedError for several headers, for an empty token, and for one that is too long.
    """
    header = _only(request, "authorization")
    if header is None:
        return _subprotocol_token(request)
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer":  # its capitalisation does not matter: RFC 9110, 11.1
        return None
    return _checked(token.strip())


def api_key_header(request: HTTPConnection) -> str | None:
    """Returns `x-api-key`; None without it. Raises UnauthenticatedError as `bearer_token` does."""
    header = _only(request, API_KEY_HEADER)
    return None if header is None else _checked(header.strip())


def accepted_subprotocol(connection: HTTPConnection) -> str | None:
    """Returns the subprotocol with which a WebSocket is accepted; None if the client offers none that is known."""
    return SUBPROTOCOL if SUBPROTOCOL in _subprotocols(connection) else None


def _subprotocol_token(request: HTTPConnection) -> str | None:
    offered = _subprotocols(request)
    tokens = [
        each.removeprefix(SUBPROTOCOL_CREDENTIALS)
        for each in offered
        if each.startswith(SUBPROTOCOL_CREDENTIALS)
    ]
    if not tokens or SUBPROTOCOL not in offered:
        return None
    if len(tokens) > 1:
        raise UnauthenticatedError("The WebSocket offers several subprotocols with credentials.")
    return _checked(tokens[0])


def _subprotocols(connection: HTTPConnection) -> list[str]:
    offered: list[str] = connection.scope.get("subprotocols") or []
    return offered


def _only(request: HTTPConnection, name: str) -> str | None:
    values = request.headers.getlist(name)
    if len(values) > 1:  # a proxy and this server could each believe another one
        raise UnauthenticatedError(f"The request has several {name} headers.")
    return values[0] if values else None


def _checked(token: str) -> str:
    if not token:
        raise UnauthenticatedError("The credentials are empty.")
    if len(token) > MAX_TOKEN_CHARS:
        raise UnauthenticatedError(f"The credentials are longer than {MAX_TOKEN_CHARS} characters.")
    return token
