"""Checks whether the process can admit runs, and whether a worker can execute them."""

from collections import Counter
from typing import Final

from millstream.api.process import Process
from millstream.shared.errors import UnavailableError
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED
from millstream.shared.workers import WorkerState, read_workers

HEALTHY: Final = "healthy"
SKIPPED: Final = "skipped"  # not checked, because Redis is not healthy


async def check(process: Process) -> dict[str, str]:
    """Returns "healthy", "skipped" or an error text, for `redis` and for `workers`.

    Raises UnavailableError if the process is stopping, or can't read events any more.
    """
    if process.hub.closing:
        raise UnavailableError("This process is stopping.")
    if not process.hub.alive:
        raise UnavailableError("This process can't read events any more: restart it.")
    redis = await _redis(process)
    return {"redis": redis, "workers": await _workers(process) if redis == HEALTHY else SKIPPED}


async def _redis(process: Process) -> str:
    access = process.access
    try:
        await access.check()
        if not access.denied:
            await process.redis.ping()
    except UNAVAILABLE:
        return "Redis is not reachable. Try again shortly."
    except WRITES_REJECTED as error:
        return f"Redis refuses to answer: {error}"
    return access.denied or access.write_rejection or HEALTHY


async def _workers(process: Process) -> str:
    states = Counter(worker.state for worker in await read_workers(process.redis))
    if states[WorkerState.LIVE]:
        return HEALTHY
    if draining := states[WorkerState.DRAINING]:
        return f"All workers are draining ({draining}): runs are admitted, and wait for another worker."
    return "No worker is running that can take runs: they are admitted, and wait for one."
