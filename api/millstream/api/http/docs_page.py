"""Serves `/openapi.json`, and `/docs`: Swagger UI on that document. The page loads nothing from other hosts."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from millstream.api.http.body import json_response
from millstream.api.http.endpoint import OPEN, Endpoint
from millstream.api.http.openapi import Reference, add_document, add_security, describe
from millstream.api.http.public_url import public_url
from millstream.shared.langgraph_json.auth import OpenApiSecurity

log = logging.getLogger(__name__)

Document = Callable[[], dict[str, Any]]  # returns an OpenAPI document
FOLDER: Final = Path(__file__).with_name("swagger_ui")
# The files of the page: their media types, and how they are stored. Each browser reads gzip.
FILES: Final = {
    "page.css": ("text/css", ""),
    "page.js": ("text/javascript", ""),
    "swagger-ui-bundle.js": ("text/javascript", "gzip"),
    "swagger-ui.css": ("text/css", "gzip"),
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
MAX_AGE: Final = 3600  # s for which browsers keep the page's files


def routes(
    endpoints: Sequence[Endpoint], reference: Reference, security: OpenApiSecurity | None = None
) -> list[Route]:
    """Returns the routes of the document and the page.

    The document includes the paths that `describe_too` adds. `security` says which credentials a project accepts.
    """
    cached: list[dict[str, Any]] = []
    lock = asyncio.Lock()

    async def openapi_json(request: Request) -> Response:
        async with lock:
            if not cached:  # in a thread, because it takes long enough to hold up streams
                other: Document | None = getattr(request.app.state, "described", None)
                cached.append(await asyncio.to_thread(_make, endpoints, reference, other, security))
        return json_response({**cached[0], "servers": [{"url": public_url(request)}]})

    return [
        Route("/openapi.json", openapi_json),
        Route("/docs", _page),
        Route("/docs/{file}", _file),
    ]


def _make(
    endpoints: Sequence[Endpoint],
    reference: Reference,
    other: Document | None,
    security: OpenApiSecurity | None,
) -> dict[str, Any]:
    document = describe(endpoints, reference)
    if other is not None:
        add_document(document, other())
    if security is not None:
        for endpoint in endpoints:
            if endpoint.asks == OPEN:
                document["paths"][endpoint.path][endpoint.method.lower()]["security"] = []
        for operation in add_security(document, security):
            log.warning("auth.openapi.paths: openapi.json has no operation %s", operation)
    return document


def describe_too(app: Starlette, document: Document) -> None:
    """Adds another application's paths to `/openapi.json` of this one."""
    app.state.described = document


async def _page(_: Request) -> Response:
    return FileResponse(FOLDER / "page.html", headers=HEADERS, media_type="text/html")


async def _file(request: Request) -> Response:
    name = request.path_params["file"]
    if name not in FILES:
        raise HTTPException(404)
    media_type, encoding = FILES[name]
    headers = {**HEADERS, "cache-control": f"public, max-age={MAX_AGE}"}
    if encoding:
        headers["content-encoding"] = encoding
    stored = f"{name}.gz" if encoding else name
    return FileResponse(FOLDER / stored, headers=headers, media_type=media_type)
