"""Responses that follow a run: what is sent, when, and how each way of ending looks to the client."""

import asyncio
from contextlib import suppress

import pytest

from harness.virtual_time import run
from millstream.api.http.sse import (
    KEEPALIVE,
    MIN_READ_TIMEOUT,
    EventStream,
    ProtocolStream,
    ThreadStream,
    frame,
    is_streamed,
)
from millstream.api.stream_watch import StreamWatch
from millstream.shared.redis.outage_log import RETRY_SECONDS
from unit.simulated_streams import (
    END,
    Client,
    Observer,
    SimulatedReader,
    Step,
    entry,
    final,
    follow,
    later,
    stream,
)


def test_a_silent_stream_has_a_keepalive_at_each_interval() -> None:
    async def test() -> None:
        client = Client()
        await follow(stream(SimulatedReader(), keepalive=1.5), client, until=8)
        assert client.chunks == [(at, KEEPALIVE) for at in (1.5, 3.0, 4.5, 6.0, 7.5)]

    run(test())


def test_events_do_not_put_the_keepalive_off() -> None:
    async def test() -> None:
        client = Client()
        pages = [later(0.3, entry(index)) for index in range(12)]
        await follow(stream(SimulatedReader(*pages)), client, until=4.05)
        # It goes out with the page that is being read when it is due.
        assert client.times(KEEPALIVE) == [1.2, 2.1, 3.0, 4.0]
        assert len(client.times(b"event: values")) == 12

    run(test())


@pytest.mark.parametrize(("keepalive", "wait"), [(0.5, MIN_READ_TIMEOUT), (5.0, 5.0)])
def test_a_redis_that_is_silent_does_not_silence_the_keepalive(
    keepalive: float, wait: float
) -> None:
    async def test() -> None:
        client = Client()
        reader = SimulatedReader(*[later(1000)] * 9)
        await follow(stream(reader, keepalive=keepalive), client, until=16)
        round_trip = wait + RETRY_SECONDS
        assert client.times(KEEPALIVE)[:3] == [
            pytest.approx(count * round_trip) for count in (1, 2, 3)
        ]

    run(test())


def test_all_pages_are_sent_and_the_end_is_the_last_chunk() -> None:
    async def test() -> None:
        client, left = Client(), []
        reader = SimulatedReader([entry(1), entry(2)], [entry(3)], [END])

        async def leave() -> None:
            left.append(True)

        response = stream(reader, on_leave=leave, headers={"location": "/there"})
        await follow(response, client)
        assert client.chunks == [
            (0.0, frame(entry(1)) + frame(entry(2))),
            (0.0, frame(entry(3))),
            (0.0, frame(END)),
        ]
        assert client.status == response.status_code == 200
        assert client.headers[b"content-type"].startswith(b"text/event-stream")
        assert client.headers[b"location"] == b"/there"
        assert client.complete
        assert reader.closed
        assert left == []
        # Nothing continues: neither a task that waits for the client, nor a timer.
        reader.news.clear()
        await asyncio.sleep(3)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not reader.news.is_set()

    run(test())


@pytest.mark.parametrize("page", [[entry(1), END], ZeroDivisionError()])
def test_the_observer_hears_of_each_stream_once(page: Step) -> None:
    async def test() -> None:
        observer = Observer()
        response = EventStream(
            SimulatedReader([entry(0, b"metadata")], page),  # type: ignore[arg-type]
            StreamWatch(observer, "t", "r"),
            headers={},
            keepalive=1.0,
        )
        with suppress(ZeroDivisionError):
            await follow(response, Client())
        assert observer.seen == ["opened", "first event", "closed"]

    run(test())


def test_a_stream_whose_events_are_all_left_out_has_no_first_event() -> None:
    async def test() -> None:
        observer = Observer()
        pages = [later(0.6, entry(1)), later(0.6, entry(2)), ZeroDivisionError()]
        response = EventStream(
            SimulatedReader(*pages),  # type: ignore[arg-type]
            StreamWatch(observer, "t", "r"),
            headers={},
            keepalive=1000.0,
            modes=frozenset({"updates"}),
        )
        client = Client()
        with suppress(ZeroDivisionError):
            await follow(response, client)
        assert client.chunks == []
        assert observer.seen == ["opened", "closed"]

    run(test())


def test_a_keepalive_is_no_first_event() -> None:
    async def test() -> None:
        observer = Observer()
        response = EventStream(
            SimulatedReader(),  # type: ignore[arg-type]
            StreamWatch(observer, "t", "r"),
            headers={},
            keepalive=1.0,
        )
        await follow(response, Client(), until=2.5)
        assert observer.seen == ["opened", "closed"]

    run(test())


def test_each_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        away = ConnectionError("away")
        reader = SimulatedReader(away, away, [entry(1)], away, away, [END])
        await follow(stream(reader), Client())

    run(test())
    assert [record.message.partition(":")[0] for record in caplog.records] == ["Open streams"] * 2


def test_events_that_only_the_protocol_has_are_left_out() -> None:
    async def test() -> None:
        client = Client()
        await follow(stream(SimulatedReader([entry(1, b"@input.requested"), END])), client)
        assert client.text == frame(END)

    run(test())


def test_an_outage_is_waited_for() -> None:
    async def test() -> None:
        client = Client()
        reader = SimulatedReader(ConnectionError("away"), ConnectionError("away"), [entry(1), END])
        await follow(stream(reader), client)
        assert client.chunks == [(round(2 * RETRY_SECONDS, 3), frame(entry(1)) + frame(END))]
        assert client.complete

    run(test())


@pytest.mark.parametrize("when", ["before", "while it waits"])
def test_a_client_that_disconnects_is_noticed_at_once(when: str) -> None:
    async def test() -> None:
        client, left = Client(), []
        reader = SimulatedReader([entry(1)])

        async def leave() -> None:
            left.append(asyncio.get_running_loop().time())

        if when == "before":
            client.leave()
        else:
            asyncio.get_running_loop().call_later(1.5, client.leave)
        await follow(stream(reader, on_leave=leave), client)
        assert left == [0.0 if when == "before" else 1.5]
        assert not client.complete
        assert reader.closed

    run(test())


def test_a_client_that_disconnects_after_the_end_cancels_nothing() -> None:
    async def test() -> None:
        client, left = Client(), []
        asyncio.get_running_loop().call_later(RETRY_SECONDS / 2, client.leave)

        async def leave() -> None:
            left.append(True)

        answers: list[bytes | Exception] = [ConnectionError("away"), b"{}"]
        response = final(SimulatedReader([END]), answers, on_leave=leave)
        await follow(response, client)
        assert client.chunks == []
        assert left == []

    run(test())


def test_a_client_may_leave_where_nothing_is_to_be_done_then() -> None:
    async def test() -> None:
        client = Client()
        client.leave()
        reader = SimulatedReader([entry(1)])
        await follow(stream(reader), client)
        assert reader.closed

    run(test())


def test_a_client_that_disconnects_while_redis_is_away_is_only_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        client = Client()
        client.leave()

        async def leave() -> None:
            raise ConnectionError("away")

        await follow(stream(SimulatedReader(), on_leave=leave), client)

    run(test())
    assert "could not be cancelled and continues: away" in caplog.text


def test_a_process_that_stops_breaks_the_stream_off_without_a_last_chunk() -> None:
    async def test() -> None:
        client = Client()
        reader = SimulatedReader([entry(1)])

        def stop() -> None:
            reader.closing = True
            reader.news.set()

        async def leave() -> None:
            raise AssertionError("the client is there")

        asyncio.get_running_loop().call_later(0.5, stop)
        await follow(stream(reader, on_leave=leave), client)
        assert asyncio.get_running_loop().time() == 0.5
        assert client.chunks == [(0.0, frame(entry(1)))]
        assert not client.complete
        assert reader.closed

    run(test())


def test_an_error_of_the_server_breaks_the_stream_of_a_run_off() -> None:
    async def test() -> None:
        client = Client()
        with pytest.raises(ZeroDivisionError):
            await follow(stream(SimulatedReader([entry(1)], ZeroDivisionError())), client)
        assert client.text == frame(entry(1))
        assert not client.complete

    run(test())


@pytest.mark.parametrize("kind", [ThreadStream, ProtocolStream])
def test_an_error_of_the_server_ends_the_stream_of_a_thread_with_an_event(
    kind: type[EventStream],
) -> None:
    async def test() -> None:
        client = Client()
        await follow(stream(SimulatedReader([entry(1)], ZeroDivisionError()), kind), client)
        assert client.text == frame(entry(1)) + kind.failed_text
        assert kind.failed_text.startswith(b"event: error\r\n")
        assert client.complete

    run(test())


def test_modes_that_were_not_requested_are_left_out() -> None:
    async def test() -> None:
        client = Client()
        reader = SimulatedReader([entry(1), entry(2, b"updates|sub"), entry(3, b"custom")], [END])
        await follow(stream(reader, modes=frozenset({"updates"})), client)
        assert client.text == frame(entry(2, b"updates|sub")) + frame(END)

    run(test())


@pytest.mark.parametrize(
    ("event", "mode"),
    [
        (b"messages", "messages-tuple"),
        (b"messages|sub", "messages-tuple"),
        (b"messages/partial", "messages"),
        (b"values", "values"),
        (b"values|sub", "values"),
    ],
)
def test_each_event_belongs_to_one_mode(event: bytes, mode: str) -> None:
    modes = ("messages", "messages-tuple", "values", "updates")
    assert [each for each in modes if is_streamed(event, frozenset({each}))] == [mode]
    assert is_streamed(event, frozenset())


@pytest.mark.parametrize("event", [b"metadata", b"error", b"end", b"gap"])
def test_some_events_belong_to_all_modes(event: bytes) -> None:
    assert is_streamed(event, frozenset({"updates"}))


def test_a_gap_has_no_id() -> None:
    assert frame(entry(1, b"gap")) == b"event: gap\r\ndata: {}\r\n\r\n"
    assert frame(entry(1)) == b"event: values\r\ndata: {}\r\nid: 1-1\r\n\r\n"


def test_a_final_output_is_white_space_until_the_run_ends() -> None:
    async def test() -> None:
        client = Client()
        reader = SimulatedReader([entry(1)], later(1.5, entry(2), END))
        response = final(reader, [b'{"a":1}'])
        await follow(response, client)
        assert client.chunks == [(1.5, b'\n{"a":1}')]
        assert client.complete

    run(test())


def test_a_final_output_is_requested_again_after_an_outage() -> None:
    async def test() -> None:
        client = Client()
        reader = SimulatedReader([END])
        response = final(reader, [ConnectionError("away"), ConnectionError("away"), b"{}"])
        await follow(response, client)
        assert client.chunks == [(round(2 * RETRY_SECONDS, 3), b"{}")]
        assert client.complete

    run(test())


def test_a_final_output_may_be_empty() -> None:
    async def test() -> None:
        client = Client()
        await follow(final(SimulatedReader([END]), [b""]), client)
        assert client.chunks == [(0.0, b"")]
        assert client.complete

    run(test())
