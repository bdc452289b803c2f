"""Whether the server can serve, and what it is."""

from importlib.metadata import version
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import answer
from millstream.shared import keys
from millstream.shared.errors import UnavailableError
from millstream.shared.permissions import PermissionMonitor
from millstream.shared.queue import live_workers
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED

VERSION: Final = version("millstream")


HEALTHY: Final = "healthy"
SKIPPED: Final = "skipped"  # what it depends on is not healthy


async def ok(request: Request) -> Response:
    """`GET /ok`: 200 while this process could admit a run, else 503: to ask before requests are sent
    here. To know whether the process lives, connect to it: an outage of Redis is no reason to start
    it anew.

    `services` says of each "healthy", or in a sentence what is wrong. Without a worker runs are
    admitted and wait, so that is no 503. Source of the shape: the LangGraph Platform API.
    """
    if request.app.state.hub.closing:
        raise UnavailableError("This process is stopping.")
    if not request.app.state.hub.alive:
        raise UnavailableError("This process can't read events any more: start it anew.")
    redis_says = await _redis(request)
    workers_say = await _workers(request) if redis_says == HEALTHY else SKIPPED
    services = {"redis": redis_says, "workers": workers_say}
    if redis_says == HEALTHY:
        return answer({"ok": True, "services": services})
    body = {"ok": False, "services": services, "detail": redis_says}
    return answer(body, status=503, headers={"retry-after": "1"})


async def _redis(request: Request) -> str:
    access: PermissionMonitor = request.app.state.access
    try:
        await access.check()
        if not access.denied:
            await request.app.state.redis.ping()
    except UNAVAILABLE:
        return "Redis is not reachable. Try again shortly."
    except WRITES_REJECTED as error:
        return f"Redis refuses to answer: {error}"
    return access.denied or access.write_rejection or HEALTHY


async def _workers(request: Request) -> str:
    workers, _ = await live_workers(request.app.state.redis, keys.STORE)  # all listen in that queue
    if workers:
        return HEALTHY
    return "No worker is running that can take runs: they are admitted, and wait for one."


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
