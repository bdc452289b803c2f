"""What a process does side by side: services, started in one order and stopped in the reverse one.

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
    """A service ended by itself, which none does while its process works; the text names it."""


@dataclass(frozen=True, slots=True)
class Service:
    """One thing that a process does beside others."""

    name: str
    run: Step
    """Works until it is cancelled. A service that returns or raises ends its process."""
    drain: Step | None = None
    """Takes nothing new, and returns once what is in progress has ended. Called while `run` still works."""
    aclose: Step | None = None
    """Closes what the service holds, after `run` has ended."""


def periodic(
    name: str,
    every: float,
    run_once: Step,
    *,
    drain: Step | None = None,
    aclose: Step | None = None,
) -> Service:
    """Returns a service that calls `run_once` again and again, first after `every` seconds.

    What `run_once` raises is logged, once a cause, and costs one round.
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
    """The services of one process, which work from the entry of this context manager to its exit.

    The exit stops one service after the other, the last that was started first: it is drained, then its
    `run` is cancelled and has ended, then it is closed. So a service may use those before it until its own
    end. What a step raises is logged, and keeps no other from being taken.
    """

    def __init__(self, services: Sequence[Service]) -> None:
        """Starts nothing yet."""
        self._services: Final = tuple(services)
        self._tasks: dict[asyncio.Task[None], Service] = {}

    async def __aenter__(self) -> Self:
        for service in self._services:
            self._tasks[asyncio.create_task(_run(service), name=service.name)] = service
        return self

    async def until(self, stop: asyncio.Event) -> None:
        """Returns once `stop` is set; raises ServiceEndedError as soon as a service has ended by itself."""
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
            f"The worker ends, as a part of it ended by itself ({', '.join(names)}); see its log."
        )

    async def __aexit__(self, *_: object) -> None:
        for task, service in reversed(self._tasks.items()):
            for step in (service.drain, _end(task), service.aclose):
                if step is None:
                    continue
                try:
                    await step()
                except Exception:
                    log.exception("The service %r could not be stopped as it should", service.name)


async def _run(service: Service) -> None:
    try:
        await service.run()
    except Exception:
        log.exception("The service %r failed", service.name)


def _end(task: "asyncio.Task[None]") -> Step:
    async def end() -> None:
        task.cancel()
        await asyncio.wait({task})

    return end
