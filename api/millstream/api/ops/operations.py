"""Use cases of operators: the state of queues and workers, as the process last read it, pauses of queues, and the
metrics."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from millstream.api.context import RequestContext
from millstream.api.ops.schemas import (
    PauseRequest,
    Queue,
    QueueScaling,
    QueueStatus,
    Scaling,
    WorkerInfo,
)
from millstream.shared import scripts
from millstream.shared.errors import NotFoundError
from millstream.shared.figures import Figures, QueueFigures
from millstream.shared.queue_views import pause_view, queue_views
from millstream.shared.redis import OutageLog
from millstream.shared.rules.queue_names import queue_name_error
from millstream.shared.worker_views import worker_view

log = logging.getLogger(__name__)

# In which Redis must answer, so that a scrape ends before its own timeout.
SCRAPE_SECONDS: Final = 1.0
OUTAGES: Final = OutageLog(log, "Scrapes of /metrics")


async def scaling(context: RequestContext, names: Sequence[str] | None) -> Scaling:
    """Returns the sum of queues, or the sum of all queues and each of them.

    An unknown queue has zeros, not an error: an autoscaler asks before the first worker has ever started.
    """
    await _permit_read(context)
    figures = await context.figures.read()
    if names is not None:
        states = [figures.queues.get(name, QueueFigures()) for name in dict.fromkeys(names)]
        return Scaling(**_scaling(*states).model_dump())
    queues = {name: _scaling(each) for name, each in figures.queues.items()}
    return Scaling(**_scaling(*figures.queues.values()).model_dump(), queues=queues)


async def _permit_read(context: RequestContext) -> None:
    await context.authorize("ops.read", {})


async def metrics_text(context: RequestContext) -> bytes:
    """Returns the metrics. Those of the deployment are absent if Redis does not answer in time.

    Raises NotFoundError if the process has no metrics.
    """
    await _permit_read(context)
    _require_metrics(context)
    # In a thread, because a deployment of many graphs has thousands of series.
    return await asyncio.to_thread(context.metrics.text, await _figures(context))


async def metrics_json(context: RequestContext) -> dict[str, Any]:
    """Returns the metrics of LangGraph's server in its JSON form; raises NotFoundError as `metrics_text` does."""
    await _permit_read(context)
    _require_metrics(context)
    return await asyncio.to_thread(context.metrics.json, await _figures(context))


def _require_metrics(context: RequestContext) -> None:
    if not context.metrics.are_on:
        raise NotFoundError(
            "This API has no metrics: pip install 'millstream[metrics]', and do not set "
            "ENABLE_PROMETHEUS_METRICS to false."
        )


async def _figures(context: RequestContext) -> Figures | None:
    """Returns the figures; None if Redis does not answer in time."""
    try:
        async with asyncio.timeout(SCRAPE_SECONDS):
            figures = await context.figures.read()
    except TimeoutError:
        return None
    except Exception as error:  # noqa: BLE001 - it is logged, and a scrape gets the rest
        OUTAGES.failed(error)
        return None
    OUTAGES.recovered()
    return figures


def _scaling(*queues: QueueFigures) -> QueueScaling:
    figures = sum(queues, QueueFigures())
    return QueueScaling(
        in_flight=figures.in_flight,
        due=figures.due,
        running=figures.running,
        oldest_due_age_seconds=figures.oldest_claimable_age,
        unserved=figures.unserved,
        workers=figures.workers,
        paused=0 < figures.paused == len(queues),
    )


async def workers(context: RequestContext, queue: str | None) -> list[WorkerInfo]:
    """Returns the workers of a queue, or of all, sorted by id."""
    await _permit_read(context)
    figures = await context.figures.read()
    return [
        WorkerInfo(**worker_view(each))
        for each in figures.workers
        if queue is None or queue in each.record.queues
    ]


async def queues(context: RequestContext) -> list[Queue]:
    """Returns all queues, sorted by name."""
    await _permit_read(context)
    return [Queue(**view) for view in queue_views(await context.figures.read())]


async def pause(context: RequestContext, name: str, body: PauseRequest) -> QueueStatus:
    """Pauses a queue; an earlier pause stays. Raises NotFoundError for an unknown queue."""
    permit = await context.authorize("ops.write", {"queue": name})
    _check_name(name)
    paused = await scripts.pause_queue(permit.redis, name, by=body.by, reason=body.reason)
    if paused is None:
        raise _unknown(name)
    context.figures.forget()
    return QueueStatus.model_validate({"name": name, "paused": pause_view(paused)})


async def resume(context: RequestContext, name: str) -> QueueStatus:
    """Resumes a queue, if it is paused. Raises NotFoundError for an unknown queue."""
    permit = await context.authorize("ops.write", {"queue": name})
    _check_name(name)
    if await scripts.resume_queue(permit.redis, name) == "unknown":
        raise _unknown(name)
    context.figures.forget()
    return QueueStatus(name=name, paused=None)


def _check_name(name: str) -> None:
    """Raises NotFoundError for a name that no queue can have: it must not become part of a key."""
    if queue_name_error(name):
        raise _unknown(name)


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(
        f"Queue {name!r:.80} is unknown: no worker has served it, no langgraph.json declares it, and no run was "
        "admitted to it."
    )
