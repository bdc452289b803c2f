"""Whether the server can serve, and what it is."""

from importlib.metadata import version
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.body import answer
from millstream.shared.errors import UnavailableError

VERSION: Final = version("millstream")


async def ok(request: Request) -> Response:
    """`GET /ok`: 200 while this process serves and Redis answers, else 503: to ask before requests
    are sent here. To know whether the process lives, connect to it: an outage of Redis is no reason
    to start it anew."""
    if request.app.state.hub.closing:
        raise UnavailableError("This process is stopping.")
    if not request.app.state.hub.alive:
        raise UnavailableError("This process can't read events any more: start it anew.")
    await request.app.state.redis.ping()
    return answer({"ok": True})


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
