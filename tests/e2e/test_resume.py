"""A cut stream is resumed with the id of its last event: no event is repeated, and none is lost."""

import asyncio
import time

import pytest

from e2e.conftest import Cluster, NodeLog, Thread
from e2e.raw_http import HEARTBEAT, Event, RawResponse, call_api
from millstream.shared import keys
from millstream.shared.redis import Client

pytestmark = pytest.mark.xdist_group("stream_cluster")

TOKENS = 19
POSITIONS = TOKENS + 6  # metadata, values, tokens, an empty last chunk, values, updates, end
CHAT = {
    "input": {"messages": [{"role": "user", "content": "hello"}]},
    "configurable": {"tokens": TOKENS, "delay": 0.002},
    "stream_mode": ["values", "messages-tuple", "updates"],
    "on_disconnect": "continue",
}


@pytest.fixture
async def thread(stream_cluster: Cluster) -> Thread:
    return await Thread.create(stream_cluster.url)


async def finished_chat(thread: Thread) -> tuple[str, list[Event]]:
    """Returns the id of an ended run, and its events."""
    async with await thread.stream("chat", **CHAT) as response:
        events = await response.events()
        return response.ids[1], events


@pytest.mark.parametrize("position", range(1, POSITIONS))
async def test_a_stream_is_resumed_after_any_event(thread: Thread, position: int) -> None:
    async with await thread.stream("chat", **CHAT) as response:
        first = (await response.until_events(position))[:position]
        _, run_id = response.ids
        await response.reset()
    async with await thread.join(run_id, first[-1].id) as response:
        rest = await response.events()
        assert response.ended
    assert first + rest == await thread.replay(run_id)
    assert len(first + rest) == POSITIONS
    assert await thread.ended(run_id) == "success"


async def test_a_joined_stream_repeats_its_location(thread: Thread) -> None:
    async with await thread.stream("chat", **CHAT) as response:
        location = response.headers["location"]
        _, run_id = response.ids
        await response.rest()
    path, _, query = location.partition("?")
    assert path == f"{thread.runs_path}/{run_id}/stream"
    async with await thread.join(run_id, query=f"?{query}") as response:
        assert response.headers["location"] == location
        assert response.headers["content-location"] == path.removesuffix("/stream")


async def test_a_stateless_stream_is_resumed_by_its_location(stream_cluster: Cluster) -> None:
    body = {**CHAT, "assistant_id": "chat", "config": {"configurable": CHAT["configurable"]}}
    async with await RawResponse.open(stream_cluster.url, "POST", "/runs/stream", body) as response:
        first = await response.until_events(4)
        location = response.headers["location"]
        await response.reset()
    last = {"last-event-id": str(first[-1].id)}
    async with await RawResponse.open(
        stream_cluster.url, "GET", location, headers=last
    ) as response:
        rest = await response.events()
    async with await RawResponse.open(stream_cluster.url, "GET", location) as response:
        assert first + rest == await response.events()


@pytest.mark.parametrize("last", ["-1", "0", "0-0", "-", None])
async def test_a_finished_run_is_replayed(thread: Thread, last: str | None) -> None:
    run_id, events = await finished_chat(thread)
    async with await thread.join(run_id, last) as response:
        assert await response.events() == events


async def test_resuming_after_the_last_event_sends_an_end(thread: Thread) -> None:
    run_id, events = await finished_chat(thread)
    async with await thread.join(run_id, events[-1].id) as response:
        [end] = await response.events()
    assert (end.name, end.data) == ("end", {"status": "success"})
    assert end.id == events[-1].id


@pytest.mark.parametrize("last", ["-1", "0"])
async def test_a_running_run_is_replayed_and_then_followed(
    thread: Thread, log: NodeLog, last: str
) -> None:
    async with await thread.stream("gate", **gate(log)) as creator:
        before = await creator.until_events(4)
        async with await thread.join(creator.ids[1], last) as response:
            assert await response.until_events(4) == before
            log.open_gate()
            assert await response.events() == await creator.events()


@pytest.mark.parametrize(
    "last", ["rubbish", "12", "1-2-3", "-5-1", "\u0663-0", "9" * 30 + "-0", None]
)
async def test_without_last_event_id_a_join_starts_live(
    thread: Thread, log: NodeLog, last: str | None
) -> None:
    async with await thread.stream("gate", **gate(log)) as creator:
        await creator.until_events(4)
        async with await thread.join(creator.ids[1], last) as response:
            await response.until_heartbeat()
            assert response.body.replace(HEARTBEAT, b"") == b""
            log.open_gate()
            assert await response.events() == (await creator.events())[4:]


def gate(log: NodeLog) -> dict[str, object]:
    return {"configurable": {"log": str(log), "n": 3}, "stream_mode": "custom"}


async def test_ten_joiners_see_the_same_bytes(thread: Thread, log: NodeLog) -> None:
    async with await thread.stream("gate", **gate(log)) as creator:
        await creator.until_events(2)
        _, run_id = creator.ids
        joined = await asyncio.gather(*(thread.join(run_id, "-1") for _ in range(10)))
        log.open_gate()
        bodies = await asyncio.gather(creator.rest(), *(response.rest() for response in joined))
        await asyncio.gather(*(response.close() for response in joined))
    assert len({body.replace(HEARTBEAT, b"") for body in bodies}) == 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?stream_mode=values", ["metadata", "values", "values", "end"]),
        ("?stream_mode=updates", ["metadata", "updates", "end"]),
        ("?stream_mode=messages-tuple", ["metadata", *["messages"] * (TOKENS + 1), "end"]),
        (
            "?stream_mode=values&stream_mode=updates",
            ["metadata", "values", "updates", "values", "end"],
        ),
        ("?stream_mode=custom", ["metadata", "end"]),
    ],
)
async def test_stream_mode_filters_a_joined_stream(
    thread: Thread, query: str, expected: list[str]
) -> None:
    run_id, events = await finished_chat(thread)
    async with await thread.join(run_id, "-1", query) as response:
        seen = await response.events()
    assert sorted(event.name for event in seen) == sorted(expected)
    assert seen == [event for event in events if event in seen]


async def test_a_trimmed_event_id_sends_a_gap(thread: Thread) -> None:
    flood = {"configurable": {"n": 3000}, "stream_mode": "custom", "on_disconnect": "continue"}
    async with await thread.stream("flood", **flood) as response:
        first = await response.until_events(2)
        _, run_id = response.ids
        await response.reset()
    assert await thread.ended(run_id) == "success"
    async with await thread.join(run_id, first[0].id) as response:
        gap, *rest = await response.events()
    assert gap == Event("gap", {"requested": first[0].id, "first": rest[0].id}, None)
    numbers = [event.data["number"] for event in rest if event.name == "custom"]
    assert numbers == list(range(numbers[0], 3000))
    assert 90 <= len(rest) <= 300  # MAXLEN ~ keeps whole nodes
    assert rest[-1].name == "end"
    async with await thread.join(run_id, rest[0].id) as response:
        assert await response.events() == rest[1:]


async def test_an_expired_stream_of_an_ended_run_ends_at_once(
    thread: Thread, stream_redis: Client
) -> None:
    run_id, events = await finished_chat(thread)
    assert await stream_redis.delete(keys.events(thread.id, run_id))
    for last in (None, "-1", events[3].id):
        begun = time.monotonic()
        async with await thread.join(run_id, last) as response:
            [end] = await response.events()
        assert (end.name, end.data) == ("end", {"status": "success"})
        assert time.monotonic() - begun < 5


async def test_an_unknown_run_is_not_found(thread: Thread) -> None:
    unknown_id = "00000000-0000-4000-8000-000000000000"
    assert (await call_api(thread.url, "GET", f"{thread.runs_path}/{unknown_id}/stream"))[0] == 404


async def test_a_stream_is_joined_on_another_api(
    stream_cluster: Cluster, thread: Thread, log: NodeLog
) -> None:
    other = Thread(stream_cluster.fleet.api().wait_ready().url, thread.id)
    async with await thread.stream("gate", **gate(log)) as creator:
        before = await creator.until_events(4)
        async with (
            await other.join(creator.ids[1], before[1].id) as resumed,
            await other.join(creator.ids[1]) as live,
        ):
            await live.until_heartbeat()
            log.open_gate()
            events = await creator.events()
            assert await resumed.events() == events[2:]
            assert await live.events() == events[4:]
