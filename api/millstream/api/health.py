"""Whether the server can serve, and what it is."""

from importlib.metadata import version
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.body import answer

VERSION: Final = version("millstream")


async def ok(request: Request) -> Response:
    """`GET /ok`: 200 while Redis answers, 503 while it does not."""
    await request.app.state.redis.ping()
    return answer({"ok": True})


async def info(_: Request) -> Response:
    """`GET /info`"""
    return answer(
        {
            "version": VERSION,
            "flags": {"assistants": True, "crons": False, "langsmith": False},
            "host": {"kind": "self-hosted"},
            "metadata": {},
        }
    )
