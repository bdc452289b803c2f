"""Use cases of operators: the state of queues and workers, as the process last read it."""

from millstream.api.context import RequestContext
from millstream.api.ops.schemas import QueueScaling, Scaling, WorkerInfo, WorkerRun
from millstream.shared.figures import QueueFigures
from millstream.shared.runs.json_view import iso_time
from millstream.shared.workers import Worker


async def scaling(context: RequestContext, queue: str | None) -> Scaling:
    """Returns the state of a queue, or of all.

    An unknown queue has zeros, not an error: an autoscaler asks before the first worker has ever started.
    """
    figures = await context.figures.read()
    if queue is not None:
        return Scaling(**_view(figures.queues.get(queue, QueueFigures())).model_dump())
    queues = {name: _view(each) for name, each in figures.queues.items()}
    return Scaling(**_view(figures.total).model_dump(), queues=queues)


def _view(figures: QueueFigures) -> QueueScaling:
    return QueueScaling(
        in_flight=figures.in_flight,
        due=figures.due,
        running=figures.running,
        oldest_due_age_seconds=figures.oldest_due_age,
        unserved=figures.unserved,
        workers=figures.workers,
    )


async def workers(context: RequestContext, queue: str | None) -> list[WorkerInfo]:
    """Returns the workers of a queue, or of all, sorted by id."""
    figures = await context.figures.read()
    return [
        _worker(each) for each in figures.workers if queue is None or queue in each.record.queues
    ]


def _worker(worker: Worker) -> WorkerInfo:
    record = worker.record
    return WorkerInfo(
        worker_id=record.worker_id,
        state=worker.state,
        host=record.host,
        pid=record.pid,
        version=record.version,
        python=record.python,
        langgraph=record.langgraph,
        protocol=record.protocol,
        queues=record.queues,
        graphs=record.graphs,
        slots=record.slots,
        runs=[
            WorkerRun(
                thread_id=run.thread_id,
                run_id=run.run_id,
                graph_id=run.graph_id,
                attempt=run.attempt,
                since=iso_time(run.since),
                isolation=run.isolation,
            )
            for run in record.runs
        ],
        started_at=_time(record.started_at),
        draining_since=_time(record.draining_since),
        reported_at=_time(record.reported_at),
    )


def _time(micros: int | None) -> str | None:
    return iso_time(micros) if micros else None
