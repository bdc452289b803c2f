"""A worker as `GET /ops/workers` and `millstream status --json` return it."""

from typing import Any

import msgspec

from millstream.shared.runs.json_view import iso_time
from millstream.shared.workers import Worker


def worker_view(worker: Worker) -> dict[str, Any]:
    """Returns the record of a worker and its state; times are ISO 8601, or None."""
    record = worker.record
    return {
        **msgspec.structs.asdict(record),
        "state": worker.state.value,
        "runs": [
            {**msgspec.structs.asdict(run), "since": iso_time(run.since)} for run in record.runs
        ],
        "started_at": _time(record.started_at),
        "draining_since": _time(record.draining_since),
        "reported_at": _time(record.reported_at),
    }


def _time(micros: int | None) -> str | None:
    return iso_time(micros) if micros else None
