"""Converts errors to responses, by one table from error to status.

Every body is `{"detail": "…"}`. Source: the LangGraph Platform API.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from millstream.api.http.context import process_of
from millstream.api.outages import unavailable
from millstream.shared.errors import (
    AccessError,
    ConflictError,
    GraphError,
    InvalidError,
    MillstreamError,
    NotFoundError,
    OverloadedError,
    RateLimitedError,
    RefusedError,
    SealedError,
    TooLargeError,
    UnavailableError,
)
from millstream.shared.redis import OUTAGE_ERRORS

log = logging.getLogger(__name__)

STATUS: Final[dict[type[MillstreamError], int]] = {
    RefusedError: 400,
    NotFoundError: 404,
    ConflictError: 409,
    TooLargeError: 413,
    InvalidError: 422,
    GraphError: 424,  # the request is valid; the graph that it depends on failed
    OverloadedError: 429,
    RateLimitedError: 429,
    SealedError: 503,
    UnavailableError: 503,
}
CLIENT_LEFT: Final = 499  # nginx' status of a request whose client has left before the response
MAX_VALUE_CHARS: Final = 120  # of an invalid value in an error message


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Returns an error response."""
    # A quoted value may hold what UTF-8 can't carry.
    clean = detail.encode("utf-8", "replace").decode()
    body = msgspec.json.encode({"detail": clean})
    return Response(body, status, headers, media_type="application/json")


def headers_of(error: UnavailableError) -> dict[str, str]:
    """Returns the headers of the response to an error after which the client may try again."""
    headers = error.headers if isinstance(error, RateLimitedError) else {}
    return {"retry-after": str(error.retry_after), **headers}


def sentence(error: ValidationError) -> str:
    """Returns the errors of a request as one text. Each part begins with its field's name."""
    parts = []
    for item in error.errors(include_url=False, include_context=False)[:5]:
        field = ".".join(str(step) for step in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "missing":
            parts.append(f"{field}: {message}")
        elif field:
            parts.append(f"{field}: {message} (given: {repr(item['input'])[:MAX_VALUE_CHARS]})")
        else:  # an error of the whole model: its message names the fields
            parts.append(message)
    return "; ".join(parts)


async def _known_error(_: Request, error: Any) -> Response:
    if isinstance(error, AccessError):
        return problem(error.status, str(error), error.headers)
    status = STATUS.get(type(error), 500)
    headers = None
    if isinstance(error, UnavailableError):
        headers = headers_of(error)
    elif status == 500:
        log.error("a request failed: %s", error)
    return problem(status, str(error), headers)


async def _validation_error(_: Request, error: Any) -> Response:
    return problem(422, sentence(error))


async def _http_error(_: Request, error: Any) -> Response:
    # The LangGraph Platform API responds to a wrong method as to an unknown route.
    if error.status_code in (404, 405):
        return problem(404, "Not Found")
    return problem(error.status_code, error.detail, error.headers)


async def _outage(request: Request, error: Any) -> Response:
    return await _known_error(request, unavailable(error, process_of(request)))


async def _unexpected_error(_: Request, __: Any) -> Response:
    return problem(500, "Internal Server Error")  # access_log.py logs it


async def _client_left(_: Request, __: Any) -> Response:
    return problem(CLIENT_LEFT, "The client has left.")  # which nobody receives


HANDLERS: Final[dict[Any, Callable[[Request, Any], Awaitable[Response]]]] = {
    MillstreamError: _known_error,
    ValidationError: _validation_error,
    HTTPException: _http_error,
    **dict.fromkeys(OUTAGE_ERRORS, _outage),
    ClientDisconnect: _client_left,
    Exception: _unexpected_error,
}


async def response_to(request: Request, error: Exception) -> Response:
    """Returns the response to an error outside of the routes."""
    kind = next(kind for kind in type(error).__mro__ if kind in HANDLERS)
    return await HANDLERS[kind](request, error)
