"""A validated request → what is admitted: ids that win, config and context merged."""

from typing import Any, Final

from millstream.api.body import encode
from millstream.api.schemas.run import RunCreate, RunCreateStateful, RunCreateStateless
from millstream.shared.assistants import default_assistant_id
from millstream.shared.runs import Submission
from millstream.shared.threads import new_thread_fields
from millstream.shared.wire import GraphInfo, RunKwargs

INTERNAL: Final = "__pregel_"  # LangGraph's own entries in `configurable`: not for clients


def submission(request: RunCreate, graph: GraphInfo, *, run_id: str, thread_id: str) -> Submission:
    """Returns what `runs.submit` admits."""
    assistant_id = default_assistant_id(graph.graph_id)
    stateless = isinstance(request, RunCreateStateless)
    ids = {"graph_id": graph.graph_id, "assistant_id": assistant_id}
    metadata = {"created_by": "system", **ids, **request.metadata}
    temporary = isinstance(request, RunCreateStateless) and request.on_completion == "delete"

    own = {**_place(request), "run_id": run_id, "thread_id": thread_id, **ids}
    given = {
        key: value
        for key, value in request.config.configurable.items()
        if not key.startswith(INTERNAL) and key not in own
    }
    context = {k: v for k, v in request.context.items() if not k.startswith(INTERNAL)}
    if not context:
        context = given
    elif not given:
        given = context
    config: dict[str, Any] = {
        "configurable": {**given, **own},
        "metadata": {**request.config.metadata, **metadata},
    }
    if request.config.tags is not None:
        config["tags"] = request.config.tags
    if request.config.recursion_limit is not None:
        config["recursion_limit"] = request.config.recursion_limit

    kwargs = RunKwargs(
        input=request.input,
        command=None if request.command is None else _command(request),
        config=config,
        context=context,
        stream_mode=list(request.stream_mode),
        interrupt_before=request.interrupt_before,
        interrupt_after=request.interrupt_after,
        feedback_keys=request.feedback_keys,
        temporary=temporary,
        subgraphs=request.stream_subgraphs,
        resumable=request.stream_resumable,
        checkpoint_during=request.durability != "exit",
        durability=request.durability or "async",
        strict_resume=request.strict_resume,
        langsmith_tracer=None
        if request.langsmith_tracer is None
        else request.langsmith_tracer.model_dump(exclude_none=True) or None,
    )
    create = stateless or (
        isinstance(request, RunCreateStateful) and request.if_not_exists == "create"
    )
    return Submission(
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant_id,
        graph=graph,
        strategy=request.multitask_strategy,
        kwargs=kwargs,
        kwargs_json=encode(kwargs),
        metadata_json=encode(metadata),
        delay_ms=round(request.after_seconds * 1000),
        new_thread=new_thread_fields({}) if create else None,
    )


def _command(request: RunCreate) -> dict[str, Any]:
    assert request.command is not None
    return request.command.model_dump(exclude_unset=True)


def _place(request: RunCreate) -> dict[str, Any]:
    """Returns where on the thread to start, as LangGraph's `configurable` has it."""
    if not isinstance(request, RunCreateStateful):
        return {}
    place: dict[str, Any] = {}
    if request.checkpoint_id is not None:
        place["checkpoint_id"] = request.checkpoint_id
    if request.checkpoint is not None:
        given = request.checkpoint.model_dump(exclude_none=True, exclude={"thread_id"})
        place |= given
    return place
