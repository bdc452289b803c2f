"""Builds the run to admit from a valid request: it merges config and context, and sets the ids.

The API does this when a run is created, and a worker when a cron is due. So a cron's run uses the assistant as it is at
that time.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from millstream.shared.access import unpack_user
from millstream.shared.assistants import Resolved
from millstream.shared.errors import InvalidError
from millstream.shared.rules.queue_names import QUEUE_KEY, queue_name_error
from millstream.shared.rules.run_metadata import trim_run_metadata
from millstream.shared.runs import Submission
from millstream.shared.threads import default_ttl, new_thread_fields
from millstream.shared.webhook_url import webhook_url_error
from millstream.shared.wire import (
    PROTOCOL,
    UNMERGED,
    Assistant,
    GraphInfo,
    Project,
    RunKwargs,
    RunRequest,
    RunSpec,
    to_json,
)

# Entries of `configurable` that identify a run: no part of the config that another run inherits.
ID_FIELDS: Final = frozenset({
    "run_id", "thread_id", "graph_id", "assistant_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map",
})  # fmt: skip
# Prefixes of entries of `configurable` that clients can't set: LangGraph's own, which RemoteGraph sends for the graph
# that contains it, and those in which a server identifies the caller and the request.
INTERNAL: Final = (
    "__pregel_", "__millstream_", "__langsmith_", "__request_", "__after_seconds__", "langgraph_auth_",
    "langgraph_request_id",
)  # fmt: skip


def submission(
    request: RunRequest,
    resolved: Resolved,
    project: Project,
    *,
    run_id: str,
    thread_id: str,
    headers: dict[str, str] | None = None,
) -> Submission:
    """Returns the submission for `runs.submit`, by the rules that the project's workers announced.

    Config and context are the assistant's, replaced name by name by the request's.

    Args:
        headers: of the HTTP request. For the graph they replace both, because a proxy that sets them is closer to
            the server than the client.

    Raises:
        InvalidError: a value can't be stored, or the project does not call the webhook.
        UnavailableError: no worker serves the assistant's graph any more.
    """
    check_webhook(request.options.webhook, project)
    assistant, graph = resolved.require_served().assistant, resolved.graph
    defaults = _config(assistant)
    ids = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    metadata = {
        **trim_run_metadata(msgspec.json.decode(assistant.metadata)),
        **request.metadata,
        **ids,
    }

    fixed = {**request.checkpoint, "run_id": run_id, "thread_id": thread_id, **ids}
    configurable, context = (
        {**of_assistant, **of_request}
        for of_assistant, of_request in zip(
            _both(defaults.get("configurable", {}), msgspec.json.decode(assistant.context), fixed),
            _both(request.config.configurable, request.context, fixed),
            strict=True,
        )
    )
    config: dict[str, Any] = {
        "configurable": {**configurable, **fixed},
        "metadata": {**defaults.get("metadata", {}), **request.config.metadata, **metadata},
    }
    for name in UNMERGED:
        value = getattr(request.config, name)
        if value is None:
            value = defaults.get(name)
        if value is not None:
            config[name] = value

    kwargs = RunKwargs(
        input=request.input,
        command=request.command,
        config=config,
        context=context,
        temporary=request.temporary,
        checkpoint_during=request.options.durability != "exit",
        event_streaming=request.event_streaming or msgspec.UNSET,
        **msgspec.structs.asdict(request.options),
    )
    spec = RunSpec(
        protocol=PROTOCOL,
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant.assistant_id,
        graph_id=graph.graph_id,
        queue=queue_of(assistant, graph),
        strategy=request.multitask_strategy,
        temporary=request.temporary,
        metadata=to_json(metadata),
        kwargs=to_json(kwargs),
        traceparent=request.traceparent,
        tracestate=request.tracestate,
        request_id=request.request_id,
        caller_headers={
            name: value for name, value in _allowed(headers or {}).items() if name not in fixed
        },
        user=request.user,
        identity="" if (user := unpack_user(request.user)) is None else user.identity,
    )
    return Submission(
        spec=spec,
        delay_ms=round(request.after_seconds * 1000),
        new_thread=new_thread_fields({}, None if request.temporary else default_ttl(project))
        if request.creates_thread
        else None,
    )


def queue_of(assistant: Assistant, graph: GraphInfo) -> str:
    """Returns the name of the queue that a run of the assistant is admitted to: the assistant's, else the graph's.

    The run stays in this queue, whatever changes later.
    """
    if QUEUE_KEY.encode() not in assistant.metadata:  # saves decoding it
        return graph.queue
    name = msgspec.json.decode(assistant.metadata).get(QUEUE_KEY)
    return graph.queue if queue_name_error(name) else str(name)


def config_of_assistant(assistant: Assistant) -> dict[str, Any]:
    """Returns the config of a run of the assistant whose request has no config."""
    defaults = _config(assistant)
    ids = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    context = msgspec.json.decode(assistant.context)
    configurable, _ = _both(defaults.get("configurable", {}), context, ids)
    return {**defaults, "configurable": {**configurable, **ids}}


def without_ids(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config without the ids of its run, for another use of the graph."""
    configurable = config.get("configurable", {})
    return {**config, "configurable": {k: v for k, v in configurable.items() if k not in ID_FIELDS}}


def check_webhook(url: str | None, project: Project) -> None:
    """Raises InvalidError for a URL that the project does not allow."""
    reason = "" if url is None else webhook_url_error(url, project.webhooks)
    if reason:
        raise InvalidError(f"webhook: {reason}")


def _config(assistant: Assistant) -> dict[str, Any]:
    config: dict[str, Any] = msgspec.json.decode(assistant.config)
    return config


def _allowed(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if not name.startswith(INTERNAL)}


def _both(
    configurable: dict[str, Any], context: dict[str, Any], fixed: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the entries that clients may set; if one of the two is empty, it gets the entries of the other."""
    configurable = {k: v for k, v in _allowed(configurable).items() if k not in fixed}
    context = _allowed(context)
    return configurable or context, context or configurable
