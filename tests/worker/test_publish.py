"""The flusher: the order of events and checkpoints, and its limits."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import ResponseError

from harness.waiting import until
from millstream.shared import scripts
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.scripts import Batch, Claim
from millstream.shared.wire import RunSpec
from millstream.worker import publish
from millstream.worker.publish import Publisher, RunStream


class Sink:
    """Simulates Redis: accepts batches while its gate is open, or reports a lost lease."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = 0  # how many calls fail
        self.held = True
        self.batches: list[tuple[int, list[Any]]] = []
        self.known: list[int] = []  # the known index of each batch
        self.index = 1  # the claim has written one event

    async def append(self, _: Client, batches: list[Batch], *, max_events: int) -> list[int | None]:
        await self.gate.wait()
        if self.away:
            self.away -= 1
            raise ConnectionError("away")
        self.batches += [(batch.number, list(batch.items)) for batch in batches]
        self.known += [batch.after for batch in batches]
        self.index += sum(len(batch.items) // 2 for batch in batches)
        return [self.index if self.held else None for _ in batches]

    @property
    def events(self) -> list[Any]:
        fields = [field for _, batch in self.batches for field in batch]
        return list(zip(fields[::2], fields[1::2], strict=True))


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Sink:
    sink = Sink()
    monkeypatch.setattr(scripts, "append", sink.append)
    return sink


@pytest.fixture
async def publisher(sink: Sink) -> AsyncIterator[Publisher]:
    no_redis: Any = None  # no Redis is used
    publisher = Publisher(no_redis, max_events=100, max_event=1000)
    publisher.start()
    yield publisher
    await publisher.stop()


def a_claim() -> Claim:
    spec = RunSpec(
        protocol=1, run_id="r", thread_id="t", assistant_id="a", graph_id="g", queue="q",
        strategy="enqueue", temporary=False, metadata=b"{}", kwargs=b"{}",
    )  # fmt: skip
    return Claim(spec=spec, job="t/r", fence=1, attempt=1, cancel=None, created_at=0, index=1)


@pytest.fixture
def stream(publisher: Publisher) -> RunStream:
    return publisher.stream(a_claim(), lambda: None)


def fine() -> None:
    """The run is not being given up."""


async def test_a_checkpoint_waits_for_the_events_before_it(sink: Sink, stream: RunStream) -> None:
    sink.gate.clear()
    stream.emit("custom", b"1")
    waiting = asyncio.create_task(stream.wait_until_written(fine))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    sink.gate.set()
    await asyncio.wait_for(waiting, 10)
    assert sink.events == [("custom", b"1")]
    await asyncio.wait_for(stream.wait_until_written(fine), 10)  # and waits for nothing else


async def test_a_checkpoint_does_not_wait_for_later_events(sink: Sink, stream: RunStream) -> None:
    stream.emit("custom", b"1")
    await asyncio.wait_for(stream.wait_until_written(fine), 10)
    waiting = asyncio.create_task(stream.wait_until_written(fine))
    await asyncio.sleep(0)
    await asyncio.wait_for(waiting, 10)
    sink.gate.clear()
    stream.emit("custom", b"2")
    assert len(sink.events) == 1


async def test_a_checkpoint_waits_for_events_that_wait_for_room(
    sink: Sink, stream: RunStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "HIGH_WATER", 100)
    sink.gate.clear()

    async def graph() -> None:
        for number in range(5):
            stream.emit("custom", b"%d" % number + b" " * 90)
            await stream.wait_for_room()

    streaming = asyncio.create_task(graph())
    for _ in range(5):
        await asyncio.sleep(0)
    waiting = asyncio.create_task(stream.wait_until_written(fine))
    sink.gate.set()
    await asyncio.wait_for(waiting, 10)
    await streaming
    assert len(sink.events) == 5


@pytest.mark.parametrize("full", [False, True])
async def test_a_stopped_run_does_not_wait(
    sink: Sink, stream: RunStream, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "HIGH_WATER", 1 if full else 10_000)
    given_up = False

    def check() -> None:
        if given_up:
            raise FencedError("given up")

    sink.gate.clear()
    stream.emit("custom", b"1")
    room = asyncio.create_task(stream.wait_for_room())
    waiting = asyncio.create_task(stream.wait_until_written(check))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    given_up = True
    stream.wake_waiters()
    with pytest.raises(FencedError):
        await asyncio.wait_for(waiting, 10)
    sink.gate.set()
    await asyncio.wait_for(room, 10)


async def test_a_closed_stream_delays_no_checkpoint(sink: Sink, stream: RunStream) -> None:
    sink.held = False
    stream.emit("custom", b"1")
    await until(lambda: sink.events)
    waiting = asyncio.create_task(stream.wait_until_written(fine))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()  # it was rejected, so the event never arrived
    await stream.close()
    await asyncio.wait_for(waiting, 10)


async def test_batches_are_bounded_and_complete(
    sink: Sink, stream: RunStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "BATCH_EVENTS", 10)
    monkeypatch.setattr(publish, "BATCH_BYTES", 2000)
    sink.gate.clear()
    sizes = [1, 900, 900, 900, 5, *[1] * 40, 900]
    for number, size in enumerate(sizes):
        stream.emit(f"e{number}", b"x" * size)
    sink.gate.set()
    await asyncio.wait_for(stream.wait_until_written(fine), 10)
    assert [(name, len(data)) for name, data in sink.events] == [
        (f"e{number}", size) for number, size in enumerate(sizes)
    ]
    assert [number for number, _ in sink.batches] == list(range(1, len(sink.batches) + 1))
    # One event may exceed the limit, so that a large event is sent at all.
    assert all(len(fields) <= 20 for _, fields in sink.batches)
    assert max(sum(map(len, fields[1::2])) for _, fields in sink.batches) <= 2900


async def test_a_batch_is_repeated_until_it_arrives(sink: Sink, stream: RunStream) -> None:
    sink.away = 3
    for number in range(4):
        stream.emit("custom", b"%d" % number)
        await asyncio.sleep(0)
    await asyncio.wait_for(stream.wait_until_written(fine), 10)
    assert [data for _, data in sink.events] == [b"0", b"1", b"2", b"3"]


async def test_a_too_large_event_is_replaced_by_a_note(sink: Sink, stream: RunStream) -> None:
    stream.emit("custom", b"1")
    stream.emit("values", b"x" * 1001)
    stream.emit("custom", b"2")
    await asyncio.wait_for(stream.wait_until_written(fine), 10)
    (_, first), (name, published), (_, last) = sink.events
    assert (first, name, last) == (b"1", "error", b"2")
    assert json.loads(published)["error"] == "EventTooLarge"
    assert "'values' of 1001 bytes" in json.loads(published)["message"]


async def test_a_rejected_batch_stops_only_its_run(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []

    async def append(_: Client, batches: list[Any], *, max_events: int) -> list[int]:
        if any(b"bad" in batch.items for batch in batches):
            raise ResponseError("WRONGTYPE")
        written.extend(batch.items for batch in batches)
        return [1 for _ in batches]

    monkeypatch.setattr(scripts, "append", append)
    fenced: list[str] = []
    good = publisher.stream(a_claim(), lambda: fenced.append("good"))
    bad = publisher.stream(a_claim(), lambda: fenced.append("bad"))
    good.emit("custom", b"1")
    bad.emit("custom", b"bad")
    await until(lambda: fenced and written)
    good.emit("custom", b"2")
    await asyncio.wait_for(good.wait_until_written(fine), 10)
    assert (fenced, written) == (["bad"], [["custom", b"1"], ["custom", b"2"]])


async def test_event_ids_rise_although_redis_lost_events(sink: Sink, stream: RunStream) -> None:
    for _ in range(3):
        stream.emit("custom", b"1")
        stream.emit("custom", b"2")
        await asyncio.wait_for(stream.wait_until_written(fine), 10)
        sink.index = 0  # Redis lost them
    assert sink.known == [1, 3, 2]
    assert stream.index == 2


async def test_a_graph_cancelled_while_it_waits_for_room_delays_no_checkpoint(
    sink: Sink, stream: RunStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "HIGH_WATER", 1)
    sink.gate.clear()
    stream.emit("custom", b"1")
    graph = asyncio.create_task(stream.wait_for_room())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(stream.wait_until_written(fine))
    graph.cancel()
    sink.gate.set()
    await asyncio.wait_for(waiting, 10)


async def test_a_batch_rejected_during_the_end_is_reported(sink: Sink, stream: RunStream) -> None:
    sink.gate.clear()
    stream.emit("custom", b"1")
    await until(lambda: stream.sending is not None)
    closing = asyncio.create_task(stream.close())
    await asyncio.sleep(0)
    sink.held = False
    sink.gate.set()
    assert await asyncio.wait_for(closing, 10) == []
    assert stream.refused
