"""A valid request → what is admitted: ids that win, config and context merged.

The API does it when a run is created, a worker when a cron is due: so a cron's run is made of its
assistant as it is then.
"""

from typing import Any, Final

from millstream.shared.assistants import default_assistant_id
from millstream.shared.multitask import Strategy
from millstream.shared.runs import Submission
from millstream.shared.threads import Ttl, new_thread_fields
from millstream.shared.wire import GraphInfo, RunKwargs, RunRequest, to_json

INTERNAL: Final = "__pregel_"  # LangGraph's own entries in `configurable`: not for clients


def submission(
    request: RunRequest, graph: GraphInfo, *, run_id: str, thread_id: str, ttl: Ttl | None = None
) -> Submission:
    """Returns what `runs.submit` admits; `ttl` is that of a thread that the run brings with it.

    Raises InvalidError for what can't be kept.
    """
    assistant_id = default_assistant_id(graph.graph_id)
    ids = {"graph_id": graph.graph_id, "assistant_id": assistant_id}
    metadata = {"created_by": "system", **ids, **request.metadata}

    own = {**request.place, "run_id": run_id, "thread_id": thread_id, **ids}
    given = {
        key: value
        for key, value in request.configurable.items()
        if not key.startswith(INTERNAL) and key not in own
    }
    context = {k: v for k, v in request.context.items() if not k.startswith(INTERNAL)}
    if not context:
        context = given
    elif not given:
        given = context
    config: dict[str, Any] = {
        "configurable": {**given, **own},
        "metadata": {**request.config_metadata, **metadata},
    }
    if request.tags is not None:
        config["tags"] = request.tags
    if request.recursion_limit is not None:
        config["recursion_limit"] = request.recursion_limit

    kwargs = RunKwargs(
        input=request.input,
        command=request.command,
        config=config,
        context=context,
        stream_mode=request.stream_mode,
        interrupt_before=request.interrupt_before,
        interrupt_after=request.interrupt_after,
        webhook=request.webhook,
        feedback_keys=request.feedback_keys,
        temporary=request.temporary,
        subgraphs=request.stream_subgraphs,
        resumable=request.stream_resumable,
        checkpoint_during=request.durability != "exit",
        durability=request.durability,
        strict_resume=request.strict_resume,
        langsmith_tracer=request.langsmith_tracer,
    )
    return Submission(
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant_id,
        graph=graph,
        strategy=Strategy(request.multitask_strategy),
        kwargs=kwargs,
        kwargs_json=to_json(kwargs),
        metadata_json=to_json(metadata),
        delay_ms=round(request.after_seconds * 1000),
        new_thread=new_thread_fields({}, None if request.temporary else ttl)
        if request.creates_thread
        else None,
    )
