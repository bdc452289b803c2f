"""The routes of the server itself: its health and its version."""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.health import HEALTHY, check
from millstream.api.http.body import json_response
from millstream.api.http.context import process_of
from millstream.api.version import VERSION


async def ok(request: Request) -> Response:
    """`GET /ok`: Returns 200 if the server can admit runs, else 503.

    It is a readiness probe. For liveness, connect to the port: an outage of Redis is no reason to restart the
    process. `services` has "healthy" or an error text for each. Without a worker, runs are admitted and wait, so
    that is 200. Source of the shape: the LangGraph Platform API.
    """
    services = await check(process_of(request))
    if services["redis"] == HEALTHY:
        return json_response({"ok": True, "services": services})
    body = {"ok": False, "services": services, "detail": services["redis"]}
    return json_response(body, status=503, headers={"retry-after": "1"})


async def info(_: Request) -> Response:
    """`GET /info`: Returns the version and the features of the server."""
    return json_response(
        {
            "version": VERSION,
            "flags": {
                "assistants": True,
                "crons": True,
                "langsmith": False,
                "strict_resume": True,
            },
            "host": {"kind": "self-hosted"},
            "metadata": {},
        }
    )
