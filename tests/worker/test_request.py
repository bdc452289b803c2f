"""A run's record → the arguments of its graph."""

import uuid
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send
from langsmith import Client, tracing_context
from pydantic import BaseModel

from millstream.shared.scripts import Claim
from millstream.shared.wire import PROTOCOL, UNMERGED, RunKwargs, RunSpec
from millstream.worker.graphs import Graph
from millstream.worker.request import read_request, without_input

RUN, THREAD = str(uuid.uuid4()), str(uuid.uuid4())


def claim(attempt: int = 1, **kwargs: Any) -> Claim:
    spec = RunSpec(
        protocol=PROTOCOL,
        run_id=RUN,
        thread_id=THREAD,
        assistant_id="a",
        graph_id="g",
        queue="default",
        strategy="enqueue",
        temporary=False,
        metadata=b"{}",
        kwargs=msgspec.json.encode(msgspec.convert(kwargs, RunKwargs)),
    )
    job = f"{THREAD}/{RUN}"
    return Claim(spec=spec, job=job, fence=1, attempt=attempt, cancel=None, created_at=0)


def test_a_trace_goes_to_the_requested_project(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(api_url="http://127.0.0.1:9", auto_batch_tracing=False)
    monkeypatch.setattr("langsmith.run_trees._CLIENT", client)
    read = claim(langsmith_tracer={"project_name": "p", "example_id": RUN})
    assert "callbacks" not in read_request(read).config  # this worker has no tracer
    with tracing_context(enabled=True):
        assert "callbacks" not in read_request(claim()).config  # the project of the environment
        callbacks = read_request(read).config["callbacks"]
    assert isinstance(callbacks, list)
    [tracer] = callbacks
    assert isinstance(tracer, LangChainTracer)
    assert (tracer.project_name, tracer.example_id) == ("p", uuid.UUID(RUN))


class State(TypedDict, total=False):
    x: Any


@dataclass
class DataContext:
    user: str = "nobody"


class ModelContext(BaseModel):
    user: str = "nobody"


class DictContext(TypedDict, total=False):
    user: str


def graph(context: Any = None) -> Graph:
    """Returns a graph with this context schema."""
    builder: Any = StateGraph(State, context_schema=context)
    builder.add_node("n", lambda state: {})
    builder.add_edge(START, "n")
    builder.add_edge("n", END)
    compiled: Graph = builder.compile()
    return compiled


def test_the_config_has_ids_and_the_clients_entries() -> None:
    config = {
        "configurable": {"thread_id": THREAD, "mine": 1},
        "metadata": {"k": "v", "run_id": "the client's"},
        "tags": ["t"],
        "recursion_limit": 7,
        "max_concurrency": 3,
        "run_name": "named",
    }
    request = read_request(claim(attempt=2, config=config))
    assert request.config["configurable"] == {"thread_id": THREAD, "mine": 1}
    assert request.config["run_id"] == uuid.UUID(RUN)
    metadata = request.config["metadata"]
    assert (metadata["k"], metadata["run_id"], metadata["run_attempt"]) == ("v", RUN, 2)
    assert metadata["langgraph_version"]
    for again in (request, without_input(request)):
        entries: dict[str, Any] = {**again.config}
        assert {name: entries[name] for name in UNMERGED} == {
            name: config[name] for name in UNMERGED
        }
    assert not set(UNMERGED) & set(read_request(claim()).config)  # LangGraph's own defaults


@pytest.mark.parametrize("value", [{"x": 1}, {}, [], "text", 0, False, None, {"big": 2**80}])
def test_the_input_is_passed_unchanged(value: Any) -> None:
    assert read_request(claim(input=value)).input == value


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ({"resume": "yes"}, Command(resume="yes")),
        ({"resume": False}, Command(resume=False)),
        ({"resume": {}}, Command(resume={})),
        ({"update": {"x": 1}}, Command(update={"x": 1})),
        ({"update": [["x", 1], ["x", 2]]}, Command(update=[("x", 1), ("x", 2)])),
        ({"goto": "n"}, Command(goto="n")),
        ({"goto": ["n", {"node": "m", "input": 1}]}, Command(goto=["n", Send("m", 1)])),
        ({"goto": {"node": "m"}}, Command(goto=Send("m", None))),
        ({"resume": None, "update": None, "goto": "n"}, Command(goto="n")),
        (
            {"resume": 1, "update": {"x": 1}, "goto": []},
            Command(resume=1, update={"x": 1}, goto=[]),
        ),
    ],
)
def test_the_command_becomes_langgraphs_command(
    read: dict[str, Any], expected: Command[Any]
) -> None:
    assert read_request(claim(command=read)).input == expected


def test_the_stream_arguments_are_passed() -> None:
    arguments = read_request(claim(input=1, durability="sync")).arguments(graph())
    assert set(arguments) == {"input", "config", "context", "durability"}
    assert (arguments["input"], arguments["durability"]) == (1, "sync")
    request = read_request(claim(interrupt_before="*", interrupt_after=["n"]))
    arguments = request.arguments(graph())
    assert (arguments["interrupt_before"], arguments["interrupt_after"]) == ("*", ["n"])
    empty = read_request(claim(interrupt_before=[], interrupt_after=[])).arguments(graph())
    assert "interrupt_before" not in empty
    assert "interrupt_after" not in empty


@pytest.mark.parametrize("schema", [DataContext, ModelContext])
def test_a_mirrored_context_has_only_fields_of_its_schema(schema: Any) -> None:
    both = {"user": "ada", "tokens": 4}
    kwargs: dict[str, Any] = {"config": {"configurable": {**both, "run_id": RUN}}}
    mirrored = read_request(claim(context=both, **kwargs)).arguments(graph(schema))
    assert mirrored["context"] == {"user": "ada"}
    # An explicit context is not cut; LangGraph reports errors in it.
    read = read_request(claim(context={"user": "eve", "odd": 1}, **kwargs))
    assert read.arguments(graph(schema))["context"] == {"user": "eve", "odd": 1}


@pytest.mark.parametrize("schema", [None, DictContext])
def test_a_mirrored_context_without_a_strict_schema_is_complete(schema: Any) -> None:
    both = {"user": "ada", "tokens": 4}
    request = read_request(claim(context=both, config={"configurable": both}))
    assert request.arguments(graph(schema))["context"] == both


def test_a_later_attempt_continues_from_the_newest_checkpoint() -> None:
    configurable = {"thread_id": THREAD, "checkpoint_id": "c", "checkpoint_map": {}, "mine": 1}
    first = read_request(claim(input={"x": 1}, config={"configurable": configurable}))
    later = without_input(first)
    assert later.input is None
    assert later.config["configurable"] == {"thread_id": THREAD, "mine": 1}
    assert later.config["run_id"] == first.config["run_id"]
    assert first.config["configurable"] == configurable  # is unchanged
