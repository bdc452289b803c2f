"""Entries that the server alone sets are left out of all that clients and projects send."""

from dataclasses import replace
from typing import Any, Final

import msgspec
import pytest

from millstream.shared.assistants import Resolved
from millstream.shared.assistants.directory import default_assistant
from millstream.shared.langgraph_json.http import HeaderFilter
from millstream.shared.rules.reserved_names import CRON_ID, METADATA_IDS, RUN_HEADER
from millstream.shared.runs.submission import config_of_assistant, submission
from millstream.shared.wire import (
    Assistant,
    GraphInfo,
    Project,
    RunConfig,
    RunKwargs,
    RunRequest,
    RunSpec,
    to_json,
    unpack_kwargs,
)

GRAPH: Final = GraphInfo(graph_id="g", queue="default")
RECORD: Final = replace(
    default_assistant(GRAPH), assistant=Assistant(assistant_id="a", graph_id="g", name="n")
)
RESERVED: Final = (
    "langgraph_auth_user", "langgraph_auth_user_id", "langgraph_auth_permissions", "langgraph_auth_x",
    "langgraph_request_id", "__langsmith_project__", "__request_start_time_ms__", "__after_seconds__",
    "__otel_traceparent__", "__pregel_scratchpad", "__pregel_checkpointer", "__millstream_private",
)  # fmt: skip
IDS: Final = ("thread_id", "run_id", "graph_id", "assistant_id", CRON_ID)
OTHER: Final = {"langgraph": "kept", "auth_user": "kept", "__mine": "kept", "cron": "kept"}
FORGED: Final = "forged"
ROUTES: Final = ("configurable", "config.metadata", "context", "metadata")


def admitted(carrier: str, entries: dict[str, Any], *, cron_id: str | None = None) -> RunSpec:
    """Returns the spec of a run whose request, assistant or headers have the entries."""
    source, _, location = carrier.partition(" ")
    config: dict[str, Any] = {
        "configurable": entries if location == "configurable" else {},
        "metadata": entries if location == "config.metadata" else {},
    }
    context, metadata = (entries if location == name else {} for name in ("context", "metadata"))
    assistant = RECORD.assistant
    request = RunRequest(assistant_id="a")
    if source == "assistant":
        assistant = msgspec.structs.replace(
            assistant, config=to_json(config), context=to_json(context), metadata=to_json(metadata)
        )
    if source == "request":
        request = RunRequest(
            assistant_id="a", config=RunConfig(**config), context=context, metadata=metadata
        )
    headers = entries if source == "headers" else {}
    return submission(
        request,
        Resolved(replace(RECORD, assistant=assistant), GRAPH),
        Project(),
        run_id="r",
        thread_id="t",
        headers=headers,
        cron_id=cron_id,
    ).spec


def texts(spec: RunSpec) -> str:
    """Returns all that the worker and clients read of the run."""
    return str((spec.kwargs, spec.metadata, spec.caller_headers, spec.identity, spec.user))


def kwargs_of(spec: RunSpec) -> RunKwargs:
    return unpack_kwargs(spec.kwargs)


CARRIERS: Final = [
    *(f"{of} {location}" for of in ("request", "assistant") for location in ROUTES),
    "headers",
]


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_no_carrier_brings_a_reserved_entry(carrier: str, name: str) -> None:
    spec = admitted(carrier, {name: FORGED, **OTHER})
    assert FORGED not in texts(spec)
    assert name not in texts(spec)
    # The test would notice the entry: others in the same location arrive.
    assert "kept" in texts(spec)
    assert (spec.user, spec.identity, spec.access_secret) == (b"", "", "")


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_no_carrier_redirects_a_run(carrier: str, name: str) -> None:
    spec = admitted(carrier, {name: FORGED, **OTHER})
    ids = {"thread_id": "t", "run_id": "r", "graph_id": "g", "assistant_id": "a"}
    assert {n: getattr(spec, n) for n in ids} == ids
    config = kwargs_of(spec).config
    assert {n: config["configurable"][n] for n in ids} == ids
    assert FORGED not in str(config)
    assert FORGED not in spec.metadata.decode()
    assert name not in spec.caller_headers


@pytest.mark.parametrize("name", ["checkpoint_id", "checkpoint_ns", "checkpoint_map"])
def test_no_header_names_a_checkpoint(name: str) -> None:
    assert admitted("headers", {name: FORGED, "x-a": "kept"}).caller_headers == {"x-a": "kept"}


def test_a_run_of_a_cron_has_its_id_and_no_other() -> None:
    for carrier in CARRIERS:
        spec = admitted(carrier, {CRON_ID: FORGED, **OTHER}, cron_id="c1")
        config = kwargs_of(spec).config
        assert config["configurable"][CRON_ID] == "c1"
        assert config["metadata"][CRON_ID] == "c1"
        assert msgspec.json.decode(spec.metadata)[CRON_ID] == "c1"


@pytest.mark.parametrize("location", ROUTES)
def test_calls_about_an_assistants_graph_get_none_either(location: str) -> None:
    entries = {**dict.fromkeys((*RESERVED, *METADATA_IDS), FORGED), **OTHER}
    if location != "config.metadata":
        entries["checkpoint_id"] = FORGED
    config = {
        "configurable": entries if location == "configurable" else {},
        "metadata": entries if location == "config.metadata" else {},
    }
    assistant = Assistant(
        assistant_id="a",
        graph_id="g",
        name="n",
        config=to_json(config),
        context=to_json(entries if location == "context" else {}),
    )
    assert FORGED not in str(config_of_assistant(assistant))


def test_no_filter_selects_the_token_of_a_run() -> None:
    headers = [(RUN_HEADER, "secret"), ("x-other", "1")]
    for names in (["*"], [RUN_HEADER], ["x-*", RUN_HEADER.upper()]):
        assert HeaderFilter(includes=names).chosen(headers).get(RUN_HEADER) is None
    assert HeaderFilter(includes=["*"]).chosen(headers) == {"x-other": "1"}
