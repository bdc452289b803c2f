"""RemoteGraph: a graph on the server, used like a local one, alone and as a subgraph."""

import operator
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client

from conftest import System

Remote = Callable[[str], RemoteGraph]

HELLO: Any = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def remote(system: System) -> AsyncIterator[Remote]:
    """Returns graphs of the server by their names."""
    async with get_client(url=system.url) as client:
        with get_sync_client(url=system.url) as sync_client:
            yield lambda name: RemoteGraph(name, client=client, sync_client=sync_client)


@pytest.fixture
async def thread_config(system: System) -> Any:
    """The config of a new thread on the server."""
    async with get_client(url=system.url) as client:
        thread = await client.threads.create()
    return {"configurable": {"thread_id": thread["thread_id"]}}


async def test_a_remote_graph_runs_streams_and_keeps_state(
    remote: Remote, thread_config: Any
) -> None:
    steps = remote("steps")
    assert await steps.ainvoke({"items": []}) == {"items": [0, 1, 2]}
    assert steps.invoke({"items": []}) == {"items": [0, 1, 2]}
    streamed = [
        part async for part in steps.astream({"items": []}, thread_config, stream_mode="updates")
    ]
    assert streamed == [{"step": {"items": [n]}} for n in range(3)]
    both: list[Any] = [
        part
        async for part in steps.astream(
            {"items": []}, thread_config, stream_mode=["values", "updates"]
        )
    ]
    assert {part[0] for part in both} == {"values", "updates"}
    state = await steps.aget_state(thread_config)
    assert state.values["items"][:3] == [0, 1, 2]
    await steps.aupdate_state(thread_config, {"items": [9]}, as_node="step")
    assert (await steps.aget_state(thread_config)).values["items"][-1] == 9
    past = [each async for each in steps.aget_state_history(thread_config)]
    assert past[0].values["items"][-1] == 9


async def test_a_remote_graph_is_drawn(remote: Remote, thread_config: Any) -> None:
    nested = remote("nested")
    drawn = await nested.aget_graph(xray=True)
    assert any(name.endswith("c1") for name in drawn.nodes)
    assert {"pre", "child", "post"} <= set((await nested.aget_graph()).nodes)
    assert nested.get_graph().draw_mermaid().startswith("---")


async def test_a_remote_graph_streams_tokens_subgraphs_and_errors(
    remote: Remote, thread_config: Any
) -> None:
    chat = remote("chat")
    tokens: list[Any] = [part async for part in chat.astream(HELLO, stream_mode="messages")]
    assert "".join(str(message["content"]) for message, _ in tokens).startswith("The quick")
    nested = remote("nested")
    parts = [
        part async for part in nested.astream({"text": "x"}, subgraphs=True, stream_mode="values")
    ]
    assert any(namespace and namespace[0].startswith("child:") for namespace, _ in parts)
    with pytest.raises(RemoteException):
        await remote("boom").ainvoke({"items": []})


class Outer(TypedDict, total=False):
    topic: str
    answer: Any
    log: Annotated[list[str], operator.add]


async def test_a_remote_graph_interrupts_as_a_subgraph(remote: Remote, thread_config: Any) -> None:
    builder: Any = StateGraph(Outer)
    builder.add_node("remote", remote("approval"))
    builder.add_edge(START, "remote")
    builder.add_edge("remote", END)
    local = builder.compile(checkpointer=InMemorySaver())
    paused = await local.ainvoke({"topic": "deploy"}, thread_config)
    [interrupt] = paused["__interrupt__"]
    assert interrupt.value == {"question": "approve deploy?"}
    # The interrupt of a RemoteGraph inside another graph is resumed through the outer graph.
    ended = await remote("approval").ainvoke(Command(resume={"ok": True}), thread_config)
    assert ended["answer"] == {"ok": True}
    assert ended["log"][-1] == "after"


async def test_a_remote_subgraph_streams_its_events(remote: Remote, thread_config: Any) -> None:
    class Text(TypedDict):
        text: str

    builder: Any = StateGraph(Text)
    builder.add_node("remote", remote("nested"))
    builder.add_edge(START, "remote")
    builder.add_edge("remote", END)
    local = builder.compile()
    parts = [
        part async for part in local.astream({"text": "x"}, subgraphs=True, stream_mode="updates")
    ]
    assert parts[-1] == ((), {"remote": {"text": "x+pre+c1+c2+post"}})
    assert any(namespace for namespace, _ in parts)


async def test_a_remote_graph_pauses_and_resumes(remote: Remote, thread_config: Any) -> None:
    approval = remote("approval")
    paused = await approval.ainvoke({"topic": "t"}, thread_config)
    assert paused["__interrupt__"][0]["value"] == {"question": "approve t?"}
    [interrupt] = (await approval.aget_state(thread_config)).interrupts
    resumed = await approval.ainvoke(Command(resume={interrupt.id: "yes"}), thread_config)
    assert resumed["answer"] == "yes"
