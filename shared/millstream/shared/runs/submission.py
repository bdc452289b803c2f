"""A valid request → what is admitted: ids that win, config and context merged.

The API does it when a run is created, a worker when a cron is due: so a cron's run is made of its
assistant as it is then.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from millstream.shared.assistants import Resolved
from millstream.shared.errors import InvalidError
from millstream.shared.own_api import forwarded_headers
from millstream.shared.rules.run_metadata import trim_run_metadata
from millstream.shared.runs import Submission
from millstream.shared.threads import default_ttl, new_thread_fields
from millstream.shared.webhook_url import webhook_url_error
from millstream.shared.wire import (
    PROTOCOL,
    UNMERGED,
    Assistant,
    Project,
    RunKwargs,
    RunRequest,
    RunSpec,
    to_json,
)

# What a config names of its run: not part of what the run was configured with.
OWN: Final = frozenset({
    "run_id", "thread_id", "graph_id", "assistant_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map",
})  # fmt: skip
# Entries of `configurable` that clients can't set: LangGraph's own, which RemoteGraph sends of the graph it is a
# node of, and what a server says of who asks.
INTERNAL: Final = ("__pregel_", "langgraph_auth_")


def submission(
    request: RunRequest,
    resolved: Resolved,
    project: Project,
    *,
    run_id: str,
    thread_id: str,
    headers: dict[str, str] | None = None,
) -> Submission:
    """Returns what `runs.submit` admits, by the rules that the project's workers announced.

    Of config and context, the assistant's come first and the request's over them, name by name. `headers`, of
    the HTTP request, go over both in `configurable`: whoever set them stands closer to the server.

    Raises:
        InvalidError: something can't be kept.
        UnavailableError: the assistant's graph was taken out of the deployment.
    """
    check_webhook(request.options.webhook, project)
    assistant, graph = resolved.require_served().assistant, resolved.graph
    kept = _config(assistant)
    ids = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    metadata = {
        **trim_run_metadata(msgspec.json.decode(assistant.metadata)),
        **ids,
        **request.metadata,
    }

    own = {**request.checkpoint, "run_id": run_id, "thread_id": thread_id, **ids}
    given, context = (
        {**of_assistant, **of_request}
        for of_assistant, of_request in zip(
            _both(kept.get("configurable", {}), msgspec.json.decode(assistant.context), own),
            _both(request.config.configurable, request.context, own),
            strict=True,
        )
    )
    let_through = _allowed(headers or {})
    config: dict[str, Any] = {
        "configurable": {**given, **let_through, **own},
        "metadata": {**kept.get("metadata", {}), **request.config.metadata, **metadata},
    }
    for name in UNMERGED:
        value = getattr(request.config, name)
        if value is None:
            value = kept.get(name)
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
        caller_headers=sorted(forwarded_headers(let_through)) or msgspec.UNSET,
        **msgspec.structs.asdict(request.options),
    )
    spec = RunSpec(
        protocol=PROTOCOL,
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant.assistant_id,
        graph_id=graph.graph_id,
        queue=graph.queue,
        strategy=request.multitask_strategy,
        temporary=request.temporary,
        metadata=to_json(metadata),
        kwargs=to_json(kwargs),
    )
    return Submission(
        spec=spec,
        delay_ms=round(request.after_seconds * 1000),
        new_thread=new_thread_fields({}, None if request.temporary else default_ttl(project))
        if request.creates_thread
        else None,
    )


def config_of_assistant(assistant: Assistant) -> dict[str, Any]:
    """Returns what a run of the assistant that brings no config of its own is configured with."""
    kept = _config(assistant)
    ids = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    context = msgspec.json.decode(assistant.context)
    configurable, _ = _both(kept.get("configurable", {}), context, ids)
    return {**kept, "configurable": {**configurable, **ids}}


def without_ids(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config without what names its run: what another use of the graph is configured with."""
    configurable = config.get("configurable", {})
    return {**config, "configurable": {k: v for k, v in configurable.items() if k not in OWN}}


def check_webhook(url: str | None, project: Project) -> None:
    """Raises InvalidError for a URL that the project does not call."""
    wrong = "" if url is None else webhook_url_error(url, project.webhooks)
    if wrong:
        raise InvalidError(f"webhook: {wrong}")


def _config(assistant: Assistant) -> dict[str, Any]:
    config: dict[str, Any] = msgspec.json.decode(assistant.config)
    return config


def _allowed(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if not name.startswith(INTERNAL)}


def _both(
    configurable: dict[str, Any], context: dict[str, Any], own: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what clients may set of both; who gives only one of them means both."""
    configurable = {k: v for k, v in _allowed(configurable).items() if k not in own}
    context = _allowed(context)
    return configurable or context, context or configurable
