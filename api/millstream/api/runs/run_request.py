"""A validated body → the request for a run as all processes know it."""

from typing import Any

from millstream.api.runs.schemas import RunCreate, RunCreateStateful, RunCreateStateless
from millstream.shared.wire import RunRequest


def run_request(body: RunCreate) -> RunRequest:
    """Returns what `submission` makes a run of."""
    stateless = isinstance(body, RunCreateStateless)
    return RunRequest(
        assistant_id=body.assistant_id,
        input=body.input,
        command=None if body.command is None else body.command.model_dump(exclude_unset=True),
        metadata=body.metadata,
        configurable=body.config.configurable,
        config_metadata=body.config.metadata,
        tags=body.config.tags,
        recursion_limit=body.config.recursion_limit,
        max_concurrency=body.config.max_concurrency,
        run_name=body.config.run_name,
        context=body.context,
        stream_mode=list(body.stream_mode),
        interrupt_before=body.interrupt_before,
        interrupt_after=body.interrupt_after,
        feedback_keys=body.feedback_keys,
        webhook=body.webhook,
        stream_subgraphs=body.stream_subgraphs,
        stream_resumable=body.stream_resumable,
        durability=body.durability or "async",
        strict_resume=body.strict_resume,
        multitask_strategy=body.multitask_strategy.value,
        place=_place(body),
        temporary=isinstance(body, RunCreateStateless) and body.on_completion == "delete",
        creates_thread=stateless
        or (isinstance(body, RunCreateStateful) and body.if_not_exists == "create"),
        after_seconds=body.after_seconds,
        langsmith_tracer=None
        if body.langsmith_tracer is None
        else body.langsmith_tracer.model_dump(exclude_none=True) or None,
    )


def _place(body: RunCreate) -> dict[str, Any]:
    """Returns where on the thread to start, as LangGraph's `configurable` has it; empty fields name nothing."""
    if not isinstance(body, RunCreateStateful):
        return {}
    place: dict[str, Any] = {}
    if body.checkpoint is not None:
        place = body.checkpoint.model_dump(exclude={"thread_id"})
    place["checkpoint_id"] = place.get("checkpoint_id") or body.checkpoint_id
    return {name: value for name, value in place.items() if value}
