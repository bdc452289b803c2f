"""What a run that answers an interrupt inherits of the paused run, and what it does not."""

from typing import Any, Final

import msgspec

from millstream.shared.assistants import Resolved
from millstream.shared.assistants.directory import default_assistant
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import Strategy
from millstream.shared.runs import RunRecord
from millstream.shared.runs.continuation import continuation
from millstream.shared.runs.submission import submission
from millstream.shared.wire import GraphInfo, Project, RunConfig, RunOptions, RunRequest

GRAPH: Final = GraphInfo(graph_id="g", queue="default")
RESOLVED: Final = Resolved(default_assistant(GRAPH), GRAPH)
TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FIRST: Final = RunRequest(
    assistant_id="g",
    input={"a": 1},
    metadata={"purpose": "first"},
    config=RunConfig(
        configurable={"model": "x", "__otel_traceparent__": TRACE, "__otel_tracestate__": "a=1"},
        metadata={"team": "a"},
        tags=["t"],
        recursion_limit=7,
        max_concurrency=2,
        run_name="n",
    ),
    context={"user": "u"},
    options=RunOptions(webhook="https://example.com/hook", durability="exit"),
    multitask_strategy=Strategy.ROLLBACK,
    checkpoint={"checkpoint_id": "c", "checkpoint_ns": "", "checkpoint_map": {"": "c"}},
    temporary=True,
    creates_thread=True,
    after_seconds=5,
    event_streaming=True,
    traceparent=TRACE,
    tracestate="a=1",
    request_id="req-1",
)


def admitted(request: RunRequest, **headers: str) -> RunRecord:
    """Returns the record of a run of the request."""
    ids: dict[str, Any] = {"run_id": "r1", "thread_id": "t1", "headers": headers}
    spec = submission(request, RESOLVED, Project(), **ids).spec
    return RunRecord(spec, RunStatus.SUCCESS, 1, 0, 0)


def test_config_context_and_options_are_inherited_and_nothing_else() -> None:
    command = {"resume": "yes"}
    headers = {"x-tenant": "a", "authorization": "secret", "x-forwarded-user": "one"}
    record = admitted(FIRST, **headers)
    request = continuation(record, command=command, metadata={"purpose": "second"})
    assert request == RunRequest(
        assistant_id=record.spec.assistant_id,
        command=command,
        metadata={"purpose": "second"},
        config=msgspec.structs.replace(FIRST.config, configurable={"model": "x"}),
        context=FIRST.context,
        options=FIRST.options,
        multitask_strategy=Strategy.REJECT,
    )


def test_a_second_answer_inherits_the_same() -> None:
    record = admitted(FIRST)
    once = continuation(record, command=None, metadata={})
    again = continuation(admitted(once), command=None, metadata={})
    assert again == once


def test_headers_of_the_answer_take_the_place_of_the_earlier_ones() -> None:
    record = admitted(FIRST, **{"x-tenant": "a", "x-user": "one"})
    answer = admitted(continuation(record, command=None, metadata={}), **{"x-tenant": "b"})
    assert answer.spec.caller_headers == {"x-tenant": "b"}
    assert b"x-" not in answer.spec.kwargs
