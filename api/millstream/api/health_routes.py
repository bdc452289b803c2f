"""Whether the server can serve, and what it is."""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.health import HEALTHY, check
from millstream.api.http.body import answer
from millstream.api.http.context import process_of
from millstream.api.version import VERSION


async def ok(request: Request) -> Response:
    """`GET /ok`: 200 while this process could admit a run, else 503: to ask before requests are sent
    here. To know whether the process lives, connect to it: an outage of Redis is no reason to start
    it anew.

    `services` says of each "healthy", or in a sentence what is wrong. Without a worker runs are
    admitted and wait, so that is no 503. Source of the shape: the LangGraph Platform API.
    """
    services = await check(process_of(request))
    if services["redis"] == HEALTHY:
        return answer({"ok": True, "services": services})
    body = {"ok": False, "services": services, "detail": services["redis"]}
    return answer(body, status=503, headers={"retry-after": "1"})


async def info(_: Request) -> Response:
    """`GET /info`"""
    return answer(
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
