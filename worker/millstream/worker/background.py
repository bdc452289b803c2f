"""The services of a process: started in one order, and stopped in the reverse one.

Source of the idea: river's `startstop`, one contract of start and stop for all services of a client.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from millstream.shared.redis import OutageLog

log = logging.getLogger(__name__)

Step = Callable[[], Awaitable[object]]


class ServiceEndedError(Exception):
    """A service ended before it was stopped; the text names it."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a process, which works beside the others."""

    name: str
    run: Step
    """Works until it is cancelled. A service that returns or raises ends its process."""
    drain: Step | None = None
    """Starts no new work, and returns once the work in progress has ended. Called while `run` still works."""
    aclose: Step | None = None
    """Closes the service's resources. Called after `run` has ended."""


def periodic(
    name: str,
    every: float,
    run_once: Step,
    *,
    drain: Step | None = None,
    aclose: Step | None = None,
) -> Service:
    """Returns a service that calls `run_once` repeatedly, first after `every` seconds.

    An exception of `run_once` ends its round. It is logged once per cause.
    """

    async def run() -> None:
        outages = OutageLog(log, f"The service {name!r}")
        while True:
            await asyncio.sleep(every)
            try:
                await run_once()
                outages.recovered()
            except Exception as error:  # noqa: BLE001 - it is logged
                outages.failed(error)

    return Service(name, run, drain, aclose)


class Services:
    """The services of one process. They work from the entry of this context manager to its exit.

    The exit stops the services one by one, in reverse order. It drains a service, cancels its `run` and waits for
    its end, then closes it. So a service can use the services before it until its own end. An exception of a step
    is logged, and the next step follows.
    """

    def __init__(self, services: Sequence[Service]) -> None:
        """Starts nothing."""
        self._services: Final = tuple(services)
        self._tasks: dict[asyncio.Task[None], Service] = {}

    async def __aenter__(self) -> Self:
        for service in self._services:
            self._tasks[asyncio.create_task(_run(service), name=service.name)] = service
        return self

    async def until(self, stop: asyncio.Event) -> None:
        """Returns once `stop` is set. Raises ServiceEndedError as soon as a service has ended before."""
        stopping = asyncio.create_task(stop.wait())
        try:
            ended, _ = await asyncio.wait(
                {stopping, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stopping.cancel()
        if stopping in ended:
            return
        names = [repr(service.name) for task, service in self._tasks.items() if task in ended]
        raise ServiceEndedError(
            f"The worker ends because a service of it has ended ({', '.join(names)}); see its log."
        )

    async def __aexit__(self, *_: object) -> None:
        for task, service in reversed(self._tasks.items()):
            for step in (service.drain, _ending_of(task), service.aclose):
                if step is None:
                    continue
                try:
                    await step()
                except Exception:
                    log.exception("a step to stop the service %r failed", service.name)


async def _run(service: Service) -> None:
    try:
        await service.run()
    except Exception:
        log.exception("the service %r failed", service.name)


def _ending_of(task: "asyncio.Task[None]") -> Step:
    async def end() -> None:
        task.cancel()
        await asyncio.wait({task})

    return end
