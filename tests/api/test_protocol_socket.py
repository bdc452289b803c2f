"""The event streaming protocol over a WebSocket: the same commands and the same events."""

import uuid
from typing import Any

import httpx
import pytest

from api.requests import System
from harness.event_socket import open_socket
from harness.event_stream import ALL_CHANNELS, follow, start
from harness.waiting import until


async def test_one_connection_carries_commands_and_events(
    system: System, http: httpx.AsyncClient
) -> None:
    thread = str(uuid.uuid4())
    async with open_socket(system.url, thread) as client, follow(http, thread) as following:
        await client.subscribe(1, *ALL_CHANNELS)
        reply = await client.send(2, "run.start", assistant_id="approval", input={"topic": "t"})
        assert reply["meta"] == {"applied_through_seq": 0}
        whole = list(await following.ended())
        assert await client.at_least(len(whole)) == whole
        [request] = following.data_of("input.requested")
        reply = await client.send(
            3, "input.respond", interrupt_id=request["interrupt_id"], response=1
        )
        assert set(reply["result"]) == {"run_id"}
        whole = list(await following.ended(2))
        assert await client.at_least(len(whole)) == whole
        assert (await client.send(4, "agent.getTree"))["result"]["tree"]["status"] == "completed"


async def test_subscriptions_add_up_without_repeated_events(
    system: System, http: httpx.AsyncClient, thread: str
) -> None:
    async with open_socket(system.url, thread) as client, follow(http, thread) as following:
        lifecycle = await client.subscribe(1, "lifecycle")
        await start(http, thread, "steps")
        whole = list(await following.ended())
        assert [event["method"] for event in await client.at_least(2)] == ["lifecycle"] * 2
        await client.subscribe(2, "values", "lifecycle")
        values = [event for event in whole if event["method"] == "values"]
        assert (await client.at_least(2 + len(values)))[2:] == values  # the missing earlier events
        await client.subscribe(3, "updates", since=whole[-1]["seq"])  # no earlier events
        await client.send(4, "subscription.unsubscribe", subscription_id=lifecycle)
        await start(http, thread, "steps")
        after = (await following.ended(2))[len(whole) :]
        expected = [e for e in after if e["method"] in ("values", "lifecycle", "updates")]
        assert (await client.at_least(6 + len(expected)))[6:] == expected
        reply = await client.send(5, "subscription.unsubscribe", subscription_id=lifecycle)
        assert reply["error"] == "no_such_subscription"


async def test_a_client_resumes_at_its_cursor(
    system: System, http: httpx.AsyncClient, thread: str
) -> None:
    async with follow(http, thread) as following:
        await start(http, thread, "nested", input={"text": "x"})
        whole = list(await following.ended())
    for cut in (0, len(whole) // 2, len(whole) - 2):
        async with open_socket(system.url, thread) as client:
            await client.subscribe(1, *ALL_CHANNELS, since=whole[cut]["seq"])
            assert await client.at_least(len(whole) - cut - 1) == whole[cut + 1 :]
    async with open_socket(system.url, thread) as client:
        await client.subscribe(1, *ALL_CHANNELS, since=2**52)
        assert await client.at_least(len(whole)) == whole


@pytest.mark.parametrize(
    ("frame", "number", "code", "problem"),
    [
        ("{", None, "invalid_argument", "JSON"),
        ("[]", None, "invalid_argument", "integer id"),
        ('{"id":"a","method":"x"}', "a", "invalid_argument", "integer id"),
        ('{"id":1,"method":"subscription.subscribe"}', 1, "invalid_argument", "channels"),
        (
            '{"id":1,"method":"subscription.subscribe","params":{"channels":["x"]}}',
            1,
            "invalid_argument",
            "unsupported entries",
        ),
        ('{"id":1,"method":"subscription.unsubscribe"}', 1, "invalid_argument", "subscription_id"),
        ('{"id":1,"method":"subscription.reconnect"}', 1, "not_supported", "reconnect"),
        ('{"id":1,"method":"nope"}', 1, "unknown_command", "nope"),
        ('{"id":1,"method":"run.start"}', 1, "invalid_argument", "assistant_id"),
    ],
)
async def test_an_invalid_frame_keeps_the_connection_open(
    system: System, thread: str, frame: str, number: Any, code: str, problem: str
) -> None:
    async with open_socket(system.url, thread) as client:
        await client.connection.send(frame)
        await until(lambda: number in client.replies)
        reply = client.replies.pop(number)
        assert (reply["type"], reply["error"]) == ("error", code)
        assert problem in reply["message"]
        await client.subscribe(2, "values")


async def test_an_invalid_or_deleted_thread_closes_the_connection(
    system: System, http: httpx.AsyncClient, thread: str
) -> None:
    async with open_socket(system.url, "zzz") as client:
        await until(lambda: client.code == 4422)
    async with open_socket(system.url, thread) as client:
        await client.subscribe(1, "values")
        await http.delete(f"/threads/{thread}")
        await until(lambda: client.code == 4404)


async def test_too_many_subscriptions_are_rejected(system: System, thread: str) -> None:
    async with open_socket(system.url, thread) as client:
        for number in range(100):
            await client.subscribe(number, "lifecycle")
        reply = await client.send(100, "subscription.subscribe", channels=["lifecycle"])
        assert reply["error"] == "invalid_argument"
