"""langgraph_sdk as its users use it: streams in each mode, and streams that are cut."""

import warnings
from itertools import combinations
from typing import Any, cast

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import RunCreateMetadata, StreamMode, StreamPart

from conftest import System
from e2e.cutting_proxy import CuttingProxy
from e2e.python_sdk import HELLO, collect, knobs

MODES: list[StreamMode] = [
    "values", "updates", "messages-tuple", "custom", "events", "debug", "tasks", "checkpoints",
]  # fmt: skip


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


def name(event: str) -> str:
    """Returns the mode that an event belongs to."""
    return "messages-tuple" if event == "messages" else event


COMBINED = [list(modes) for count in (1, 2) for modes in combinations(MODES, count)] + [MODES]


async def streamed(
    client: LangGraphClient, thread: str | None, modes: list[StreamMode]
) -> list[StreamPart]:
    """Streams a run of a graph that has events in all these modes but one."""
    return await collect(
        client.runs.stream(
            cast("Any", thread),
            "custom" if "custom" in modes else "chat",
            input={} if "custom" in modes else HELLO,
            stream_mode=modes,
            config=knobs(tokens=3, n=2),
        )
    )


def check_modes(parts: list[StreamPart], modes: list[StreamMode]) -> None:
    assert parts[0].event == "metadata"
    assert parts[-1].event == "end"
    modes_seen = {name(part.event) for part in parts[1:-1]}
    # `custom` has no chat model, so it has no messages.
    assert modes_seen == set(modes) - ({"messages-tuple"} if "custom" in modes else set())
    ids = [tuple(map(int, str(part.id).split("-"))) for part in parts]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("modes", COMBINED, ids="+".join)
async def test_a_stream_has_the_requested_modes(
    client: LangGraphClient, thread: str, modes: list[StreamMode]
) -> None:
    check_modes(await streamed(client, thread, modes), modes)


async def test_a_stateless_stream_has_the_requested_modes(client: LangGraphClient) -> None:
    for modes in COMBINED:
        check_modes(await streamed(client, None, modes), modes)


async def test_messages_mode_accumulates_tokens(client: LangGraphClient, thread: str) -> None:
    parts = await collect(
        client.runs.stream(
            thread, "chat", input=HELLO, stream_mode="messages", config=knobs(tokens=3)
        )
    )
    texts = [part.data[0]["content"] for part in parts if part.event == "messages/partial"]
    assert texts == ["The", "The quick", "The quick brown", "The quick brown"]


async def test_stream_version_2_is_supported(client: LangGraphClient, thread: str) -> None:
    stream = client.runs.stream(
        thread, "steps", input={"items": []}, stream_mode="values", version="v2"
    )
    parts = [part async for part in stream]
    assert [part["type"] for part in parts] == ["metadata", *["values"] * 4]


async def test_subgraphs_are_streamed_with_their_namespace(
    client: LangGraphClient, thread: str
) -> None:
    parts = await collect(
        client.runs.stream(
            thread, "nested", input={"text": "x"}, stream_mode="updates", stream_subgraphs=True
        )
    )
    assert [part.event.partition("|")[0] for part in parts[1:-1]] == ["updates"] * 5
    assert sum("|child:" in part.event for part in parts) == 2


@pytest.mark.parametrize("after", [0, 8], ids=["before-its-first-event", "in-its-middle"])
@pytest.mark.parametrize("state", ["stateful", "stateless"])
async def test_a_cut_connection_is_resumed(
    client: LangGraphClient, thread: str, system: System, state: str, after: int
) -> None:
    heard: list[RunCreateMetadata] = []
    async with (
        CuttingProxy(system.url, after=after) as proxy,
        get_client(url=proxy.url) as cut,
    ):
        with warnings.catch_warnings():
            # The SDK warns if it has no event id to resume from. Then the Location has one.
            warnings.simplefilter("error" if after else "ignore")
            parts = await collect(
                cut.runs.stream(
                    cast("Any", thread if state == "stateful" else None),
                    "chat",
                    input=HELLO,
                    stream_mode=cast("Any", ["values", "messages-tuple"]),
                    config=knobs(tokens=20, delay=0.03),
                    on_disconnect="continue",
                    on_run_created=heard.append,
                )
            )
        assert proxy.cuts == 1
        assert any(b"last-event-id" in head.lower() for head in proxy.requests) == bool(after)
    assert len(heard) == 1
    tokens = [part.data[0]["content"] for part in parts if part.event == "messages"]
    whole = parts[-2].data["messages"][-1]["content"]
    assert "".join(tokens) == whole
    assert len(tokens) == 21
    assert parts[-1].data == {"status": "success"}
    if state == "stateful":
        assert parts == await collect(client.runs.join_stream(thread, heard[0]["run_id"]))


async def test_a_cut_thread_stream_is_resumed(
    client: LangGraphClient, thread: str, system: System
) -> None:
    async with (
        CuttingProxy(system.url, after=8) as proxy,
        get_client(url=proxy.url) as cut,
    ):
        for _ in range(2):
            await client.runs.create(
                thread, "chat", input=HELLO, config=knobs(tokens=10, delay=0.03),
                stream_mode=cast("Any", ["values", "messages-tuple"]),
            )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the SDK warns if it can't resume
            stream: Any = await cut.threads.join_stream(thread, last_event_id="-")
            parts, done = [], 0
            async for part in stream:
                parts.append(part)
                done += part.event == "metadata" and "status" in part.data
                if done == 2:
                    break
            await stream.aclose()
        assert proxy.cuts == 1
    whole: Any = await client.threads.join_stream(thread, last_event_id="-")
    assert parts == [await anext(whole) for _ in parts]
    await whole.aclose()
