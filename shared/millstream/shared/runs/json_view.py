"""The JSON of a run, in responses of the API and in webhook calls."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from millstream.shared.runs import RunRecord
from millstream.shared.wire import LangsmithTracer, require_plain

NULL: Final = b"null"
MADE_OF_KWARGS: Final = frozenset({"kwargs", "langsmith_session_name"})


def iso_time(micros: int) -> str:
    """Returns a time (µs since the epoch) as ISO 8601 in UTC, with microseconds."""
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat(timespec="microseconds")


def run_to_json(record: RunRecord, select: list[str] | None = None) -> dict[str, Any]:
    """Returns a `Run` of the API, or only the fields in `select`.

    Raises SealedError if its kwargs are among them, and no key has opened them.
    """
    spec = record.spec
    has_kwargs = not select or not MADE_OF_KWARGS.isdisjoint(select)
    kwargs = require_plain(spec.kwargs) if has_kwargs else NULL
    run = {
        "run_id": spec.run_id,
        "thread_id": spec.thread_id,
        "assistant_id": spec.assistant_id,
        "metadata": msgspec.Raw(spec.metadata),
        "status": record.status.value,
        "kwargs": msgspec.Raw(kwargs),
        "multitask_strategy": spec.strategy,
        "created_at": iso_time(record.created_at),
        "updated_at": iso_time(record.updated_at),
        "langsmith_session_name": _project(kwargs),
        "cancel_reason": record.cancel_reason,
    }
    return {field: run[field] for field in select} if select else run


class _Traced(msgspec.Struct):
    """The one part of a request that is looked at when its run is shown."""

    langsmith_tracer: LangsmithTracer | None = None


def _project(kwargs: bytes) -> str | None:
    if b'"langsmith_tracer":{' not in kwargs:  # so that inputs are not read for nothing
        return None
    tracer = msgspec.json.decode(kwargs, type=_Traced).langsmith_tracer
    return tracer.project_name if tracer else None
