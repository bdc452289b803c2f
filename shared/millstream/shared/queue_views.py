"""A queue as `GET /ops/queues` and `millstream queues --json` return it."""

from typing import Any

from millstream.shared.figures import Figures
from millstream.shared.runs.json_view import iso_time
from millstream.shared.scripts import Pause


def queue_views(figures: Figures) -> list[dict[str, Any]]:
    """Returns all queues, sorted by name."""
    return [
        {
            "name": name,
            "paused": pause_view(figures.pauses.get(name)),
            "due": queue.due,
            "deferred": queue.deferred,
            "running": queue.running,
            "unserved": queue.unserved,
            "oldest_due_age_seconds": queue.oldest_due_age,
            "oldest_unserved_age_seconds": queue.oldest_unserved_age,
            "workers": queue.workers,
            "draining_workers": queue.draining_workers,
            "lost_workers": queue.lost_workers,
            "graphs": sorted(graph for graph, route in figures.graphs.items() if route == name),
        }
        for name, queue in sorted(figures.queues.items())
    ]


def pause_view(pause: Pause | None) -> dict[str, Any] | None:
    """Returns the pause of a queue; None for a queue that is not paused."""
    if pause is None:
        return None
    return {"since": iso_time(pause.at), "by": pause.by or None, "reason": pause.reason or None}
