"""The events of a thread by the protocol: every channel, in one order, the same for all clients."""

import asyncio
import uuid
from itertools import pairwise
from typing import Any

import httpx
import pytest

from api.requests import STEPS, detail
from api.thread_state import COVERED_FIELDS, covers, update
from harness.event_stream import ALL_CHANNELS, EventStream, command, follow, start
from harness.waiting import until
from millstream.api.protocol.schemas import EventStreamRequest


def names(following: EventStream) -> list[tuple[str, ...]]:
    return [
        tuple(part.partition(":")[0] for part in event["params"]["namespace"])
        for event in following.events
    ]


async def test_an_event_has_its_envelope_and_frame(http: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    async with follow(http, thread) as following:  # of a thread that does not exist yet
        await start(http, thread, "steps")
        events = await following.ended()
    assert [(name, int(key)) for name, key in following.frames] == [
        (event["method"], event["seq"]) for event in events
    ]
    for event in events:
        assert set(event) == {"type", "event_id", "seq", "method", "params"}
        assert event["type"] == "event"
        assert set(event["params"]) == {"namespace", "timestamp", "data"}
        assert event["params"]["timestamp"] > 1e12
    assert all(one["seq"] < after["seq"] for one, after in pairwise(events))
    assert len({event["event_id"] for event in events}) == len(events)
    assert max(event["seq"] for event in events) < 2**53
    assert following.lifecycle == ["running", "completed"]
    assert following.data_of("lifecycle") == [
        {"event": "running", "graph_name": "steps"}, {"event": "completed", "graph_name": "steps"},
    ]  # fmt: skip
    assert following.data_of("values") == [{"items": list(range(n))} for n in range(4)]
    assert {event["method"] for event in events} == {
        "lifecycle", "values", "updates", "tasks", "checkpoints",
    }  # fmt: skip


@covers(EventStreamRequest, "since")
async def test_all_followers_get_the_same_events_from_any_cursor(
    http: httpx.AsyncClient, thread: str
) -> None:
    async with follow(http, thread) as live:
        await start(http, thread, "nested", input={"text": "x"})
        await start(http, thread, "approval", input={"topic": "t"})
        await start(http, thread, "custom")
        whole = list(await live.ended(3))
    async with follow(http, thread) as late, follow(http, thread, since=0) as later:
        assert await late.at_least(len(whole)) == whole == await later.at_least(len(whole))
    for cut in range(0, len(whole), 7):
        last = whole[cut]["seq"]
        async with (
            follow(http, thread, since=last) as rest,
            follow(http, thread, last=last) as same,
        ):
            if cut + 1 < len(whole):
                assert await rest.at_least(len(whole) - cut - 1) == whole[cut + 1 :]
                assert await same.at_least(len(whole) - cut - 1) == whole[cut + 1 :]
    async with follow(http, thread, since=whole[-1]["seq"]) as rest:
        await start(http, thread, "steps")
        await rest.ended()
        assert rest.lifecycle == ["running", "completed"]  # the earlier end is not repeated


async def test_an_unknown_position_starts_at_the_beginning(
    http: httpx.AsyncClient, thread: str
) -> None:
    await start(http, thread, "steps")
    async with follow(http, thread, ["lifecycle"], since=2**52) as following:
        await start(http, thread, "steps")
        await until(lambda: following.lifecycle[-1:] == ["completed"])


# ── Filters ─────────────────────────────────────────────────────────────────────────────────


@covers(EventStreamRequest, "channels")
@pytest.mark.parametrize("channel", [*ALL_CHANNELS, "custom:progress"])
async def test_each_channel_can_be_followed_alone(
    web: httpx.AsyncClient, thread: str, channel: str
) -> None:
    for graph, graph_input in (
        ("custom", {}), ("nested_chat", {"messages": [{"role": "user", "content": "hi"}]}),
        ("approval", {"topic": "t"}), ("tooled", {"messages": []}), ("counted", {"items": []}),
    ):  # fmt: skip
        await start(web, thread, graph, input=graph_input)
    async with follow(web, thread) as following, follow(web, thread, [channel]) as one:
        await following.ended(5)
        expected = [event for event in following.events if _belongs(event, channel)]
        assert expected
        assert await one.at_least(len(expected)) == expected


def _belongs(event: dict[str, Any], channel: str) -> bool:
    if channel == "input":
        return bool(event["method"] == "input.requested")
    if channel.startswith("custom:"):
        return bool(event["params"]["data"].get("name") == channel.removeprefix("custom:"))
    return bool(event["method"] == channel)


@covers(EventStreamRequest, "namespaces", "depth")
@pytest.mark.parametrize(
    ("subscription", "delivered"),
    [
        ({}, {(), ("child",)}),
        ({"namespaces": [["child"]]}, {("child",)}),
        ({"namespaces": [[]]}, {(), ("child",)}),
        ({"namespaces": [[]], "depth": 0}, {()}),
        ({"depth": 0}, {()}),
        ({"depth": 1}, {(), ("child",)}),
        ({"namespaces": [["nobody"]]}, set()),
        ({"namespaces": [["child:nobody"], ["child", "deeper"]]}, set()),
        ({"namespaces": [["child"], []], "depth": 0}, {(), ("child",)}),
    ],
)
async def test_events_of_subgraphs_have_their_namespace(
    http: httpx.AsyncClient,
    thread: str,
    subscription: dict[str, Any],
    delivered: set[tuple[str, ...]],
) -> None:
    await start(http, thread, "nested", input={"text": "x"})
    async with follow(http, thread) as following, follow(http, thread, **subscription) as some:
        await following.ended()
        whole = list(zip(names(following), following.events, strict=True))
        expected = [event for namespace, event in whole if namespace in delivered]
        assert await some.at_least(len(expected)) == expected
        [exact] = {
            tuple(e["params"]["namespace"]) for namespace, e in whole if namespace == ("child",)
        }
        async with follow(http, thread, namespaces=[list(exact)]) as child:
            within = [event for namespace, event in whole if namespace == ("child",)]
            assert await child.at_least(len(within)) == within


# ── Ends ────────────────────────────────────────────────────────────────────────────────────


async def test_each_end_of_a_run_has_its_lifecycle_event(
    http: httpx.AsyncClient, thread: str
) -> None:
    async with follow(http, thread, ["lifecycle", "input"]) as following:
        await start(http, thread, "boom")
        await following.ended()
        assert following.data_of("lifecycle")[-1] == {
            "event": "failed", "graph_name": "boom", "error": "boom",
        }  # fmt: skip
        run = await start(http, thread, "slow")
        await until(lambda: following.lifecycle[-1] == "running")
        await http.post(f"/threads/{thread}/runs/{run}/cancel")
        await following.ended(2)
        assert following.data_of("lifecycle")[-1]["error"] == "The run was cancelled."
        run = await start(http, thread, "slow")
        await until(lambda: following.lifecycle[-1] == "running")
        await http.post(f"/threads/{thread}/runs/{run}/cancel?action=rollback")
        await following.ended(3)
        assert following.data_of("lifecycle")[-1]["event"] == "failed"
        await start(http, thread, "approval", input={"topic": "t"}, interrupt_before=["after"])
        await following.ended(4)
        [subscription] = following.data_of("input.requested")
        await command(
            http, thread, "input.respond", interrupt_id=subscription["interrupt_id"], response=1
        )
        await following.ended(5)  # at the breakpoint, which the run of the answer has too
        await start(http, thread, "approval", input=None)
        await following.ended(6)
        assert following.ends[3:] == ["interrupted", "interrupted", "completed"]


async def test_runs_of_other_routes_are_followed_too(http: httpx.AsyncClient, thread: str) -> None:
    async with follow(http, thread) as following:
        body = {**STEPS, "stream_mode": ["values", "updates", "messages-tuple", "debug"]}
        await http.post(f"/threads/{thread}/runs/wait", json=body)
        await update(http, thread, values={"items": [9]}, as_node="step")
        nested = {"assistant_id": "nested", "input": {"text": "x"}, "stream_subgraphs": True}
        await http.post(f"/threads/{thread}/runs/wait", json=nested)
        await http.post(
            f"/threads/{thread}/runs/wait",
            json={"assistant_id": "custom", "input": {}, "stream_mode": "custom"},
        )
        paused = {"assistant_id": "approval", "input": {"topic": "t"}}
        await http.post(f"/threads/{thread}/runs/wait", json=paused)
        await following.ended(4)
    assert following.ends == ["completed", "completed", "completed", "interrupted"]
    assert {"node": "step", "values": {"items": [0]}} in following.data_of("updates")
    assert following.data_of("custom")[0] == {"payload": {"progress": 1, "of": 3}}
    assert ("child",) in names(following)
    [subscription] = following.data_of("input.requested")
    assert subscription["value"] == subscription["payload"] == {"question": "approve t?"}
    assert {event["method"] for event in following.events} <= {
        "lifecycle", "values", "updates", "custom", "input.requested",
    }  # fmt: skip
    assert all(event["params"]["timestamp"] > 1e12 for event in following.events)


async def test_a_run_of_a_command_is_readable_by_the_run_routes(
    http: httpx.AsyncClient, thread: str
) -> None:
    run = await start(http, thread, "nested", input={"text": "x"})
    response = await http.get(
        f"/threads/{thread}/runs/{run}/stream", headers={"last-event-id": "-"}
    )
    events = [
        line.removeprefix("event: ") for line in response.text.splitlines() if line[:6] == "event:"
    ]
    kinds = {name.partition("|")[0] for name in events}
    assert kinds == {"metadata", "values", "updates", "tasks", "checkpoints", "end"}
    assert any(name.startswith("values|child:") for name in events)
    assert 'data: {"pre":{"text":"x+pre"}}' in response.text


async def test_an_event_stream_stays_open_with_keepalives(
    http: httpx.AsyncClient, thread: str
) -> None:
    async with follow(http, thread) as following:
        await start(http, thread, "steps")
        await following.ended()
        await until(lambda: following.keepalives >= 2)
        assert not following.closed
        await http.delete(f"/threads/{thread}")
        await until(lambda: following.closed, what="the end of the stream of a deleted thread")


# ── Refused ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "channels is required and must be a non-empty array"),
        ({"channels": []}, "channels is required and must be a non-empty array"),
        ({"channels": "values"}, "channels is required and must be a non-empty array"),
        ({"channels": ["bogus"]}, "channels contains unsupported entries: bogus. Allowed: values"),
        ({"channels": ["custom:"]}, "unsupported entries: custom:"),
        ({"channels": [7]}, "channels"),
        ({"channels": ["values"], "namespaces": "x"}, "namespaces"),
        ({"channels": ["values"], "namespaces": ["x"]}, "namespaces"),
        ({"channels": ["values"], "depth": -1}, "depth"),
        ({"channels": ["values"], "depth": "1"}, "depth"),
        ({"channels": ["values"], "since": -1}, "since"),
        ({"channels": ["values"], "since": 2**60}, "since"),
        ({"channels": ["values"], "since": "1-0"}, "since"),
        ([], "dictionary"),
    ],
)
async def test_an_invalid_request_is_rejected(
    http: httpx.AsyncClient, thread: str, body: Any, problem: str
) -> None:
    response = await http.post(f"/threads/{thread}/stream/events", json=body)
    assert response.status_code == 400
    assert problem in detail(response)


async def test_a_body_that_is_no_json_and_an_unknown_thread_are_rejected(
    http: httpx.AsyncClient, thread: str
) -> None:
    response = await http.post(f"/threads/{thread}/stream/events", content=b"{")
    assert response.status_code == 400
    assert detail(response).startswith("Invalid JSON body")
    response = await http.post("/threads/zzz/stream/events", json={"channels": ["values"]})
    assert response.status_code == 422


async def test_many_clients_follow_at_once(http: httpx.AsyncClient, thread: str) -> None:
    async def one() -> list[dict[str, Any]]:
        async with follow(http, thread) as following:
            return list(await following.ended(3))

    clients = [asyncio.create_task(one()) for _ in range(20)]
    for _ in range(3):
        await start(http, thread, "steps")
    first, *others = await asyncio.gather(*clients)
    assert all(other == first for other in others)


def test_every_field_is_tested() -> None:
    assert COVERED_FIELDS[EventStreamRequest] == set(EventStreamRequest.model_fields)
