"""Builds the run to admit from a valid request: it merges config and context, and sets the ids.

The API does this when a run is created, and a worker when a cron is due. So a cron's run uses the assistant as it is at
that time.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from millstream.shared.access import unpack_user
from millstream.shared.assistants import Resolved
from millstream.shared.errors import InvalidError
from millstream.shared.rules.queue_names import QUEUE_KEY, queue_name_error
from millstream.shared.rules.reserved_names import (
    CRON_ID,
    ID_FIELDS,
    METADATA_IDS,
    without_reserved,
)
from millstream.shared.rules.run_metadata import trim_run_metadata
from millstream.shared.runs import Submission
from millstream.shared.runs.access import new_secret
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


def submission(
    request: RunRequest,
    resolved: Resolved,
    project: Project,
    *,
    run_id: str,
    thread_id: str,
    headers: dict[str, str] | None = None,
    cron_id: str | None = None,
) -> Submission:
    """Returns the submission for `runs.submit`, by the rules that the project's workers announced.

    Config, context and metadata are the assistant's, replaced name by name by the request's. Names that the server
    alone sets (rules/reserved_names.py) are left out of all of them, and of the headers.

    Args:
        headers: of the HTTP request. For the graph they replace both, because a proxy that sets them is closer to
            the server than the client.
        cron_id: the cron whose run it is.

    Raises:
        InvalidError: a value can't be stored, or the project does not call the webhook.
        UnavailableError: no worker serves the assistant's graph any more.
    """
    check_webhook(request.options.webhook, project)
    assistant, graph = resolved.require_served().assistant, resolved.graph
    defaults = _config(assistant)
    ids = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    if cron_id is not None:
        ids[CRON_ID] = cron_id
    metadata = {
        **_metadata(trim_run_metadata(msgspec.json.decode(assistant.metadata))),
        **_metadata(request.metadata),
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
        "metadata": {
            **_metadata(defaults.get("metadata", {})),
            **_metadata(request.config.metadata),
            **metadata,
        },
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
        caller_headers=without_reserved(headers or {}, {*ID_FIELDS, CRON_ID}),
        user=request.user,
        identity="" if (user := unpack_user(request.user)) is None else user.identity,
        access_secret=new_secret() if request.user else "",
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
    configurable, _ = _both(defaults.get("configurable", {}), context, ID_FIELDS)
    config = {**defaults, "configurable": {**configurable, **ids}}
    if "metadata" in defaults:
        config["metadata"] = _metadata(defaults["metadata"])
    return config


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


def _metadata(entries: dict[str, Any]) -> dict[str, Any]:
    return without_reserved(entries, METADATA_IDS)


def _both(
    configurable: dict[str, Any], context: dict[str, Any], fixed: Iterable[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the entries that clients may set. If one of the two is empty, it gets the entries of the other.

    `fixed` are further names that `configurable` gets from the server alone.
    """
    names = {*fixed, CRON_ID}
    configurable = without_reserved(configurable, names)
    context = without_reserved(context)
    return configurable or without_reserved(context, names), context or configurable
