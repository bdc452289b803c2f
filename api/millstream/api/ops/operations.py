"""Use cases of operators: the state of the queues, as the process last read it."""

from millstream.api.context import RequestContext
from millstream.api.ops.schemas import QueueScaling, Scaling
from millstream.shared.figures import QueueFigures


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
