"""Builds the request for the run that answers the interrupt of a paused run.

The run inherits the paused run's assistant, config, context and options, also options that are added to `RunOptions`
later. It does not inherit what belongs to one request: input and command, metadata, ids, the
checkpoint to start from, the delay, the strategy, whether the thread is created or temporary, the form of the events,
the trace, and the caller's headers. See docs/decisions/0056.
"""

from typing import Any

import msgspec

from millstream.shared.rules.multitask import Strategy
from millstream.shared.rules.reserved_names import ID_FIELDS
from millstream.shared.runs.records import RunRecord
from millstream.shared.wire import UNMERGED, RunConfig, RunOptions, RunRequest, unpack_kwargs


def continuation(
    record: RunRecord, *, command: dict[str, Any] | None, metadata: dict[str, Any]
) -> RunRequest:
    """Returns the request for a run that answers the interrupt of `record`'s run.

    Its strategy is `reject`: if the thread is busy, another answer was faster.
    """
    kwargs = unpack_kwargs(record.spec.kwargs)
    config = kwargs.config
    run_metadata = msgspec.json.decode(record.spec.metadata)
    return RunRequest(
        assistant_id=record.spec.assistant_id,
        command=command,
        metadata=metadata,
        config=RunConfig(
            configurable=_without(config.get("configurable", {}), ID_FIELDS),
            metadata=_without(config.get("metadata", {}), frozenset(run_metadata)),
            **{name: config.get(name) for name in UNMERGED},
        ),
        context=_without(kwargs.context, ID_FIELDS),
        options=msgspec.convert(kwargs, RunOptions, from_attributes=True),
        multitask_strategy=Strategy.REJECT,
    )


def _without(entries: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if name not in names}
