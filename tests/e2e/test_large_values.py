"""Large events and states: one over the limit is replaced by a note, and others arrive complete."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.conftest import BEHAVIOUR, Cluster, Thread
from e2e.raw_http import RawResponse, call_api, parse

pytestmark = pytest.mark.xdist_group("worker_cluster")

MAX_BYTES = 20_000  # STREAM_MAX_EVENT_BYTES of the worker of `small`
MEGABYTE = 1_000_000
COUNT = 40


@pytest.fixture(scope="module")
def small(worker_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with a second queue, whose worker drops events of more than `MAX_BYTES`."""
    config = tmp_path_factory.mktemp("small") / "langgraph.json"
    source = BEHAVIOUR.with_name("behaviour.py")
    config.write_text(json.dumps({"graphs": {"small": f"{source}:bulk"}}))
    worker = worker_cluster.fleet.worker(
        config, "limited", STREAM_MAX_EVENT_BYTES=str(MAX_BYTES)
    ).wait_ready()
    yield worker_cluster
    worker.stop()


async def test_an_event_over_the_limit_is_dropped_and_the_run_continues(small: Cluster) -> None:
    thread = await Thread.create(small.url)
    fields: dict[str, Any] = {
        "configurable": {"sizes": [10, MAX_BYTES, 10]},
        "stream_mode": "custom",
    }
    async with await thread.stream("small", **fields) as response:
        _, run_id = response.ids
        events = await response.events()
    assert [event.name for event in events] == ["metadata", "custom", "error", "custom", "end"]
    _, before, error, after, end = (event.data for event in events)
    assert (before["number"], after["number"]) == (0, 2)
    assert error["error"] == "EventTooLarge"
    size = len(json.dumps({"number": 1, "text": "x" * MAX_BYTES}, separators=(",", ":")))
    assert "'custom'" in error["message"]
    assert str(size) in error["message"]
    assert f"STREAM_MAX_EVENT_BYTES is {MAX_BYTES}" in error["message"]
    assert end == {"status": "success"}
    assert await thread.replay(run_id) == events
    assert await call_api(small.url, "GET", f"{thread.runs_path}/{run_id}/join") == (
        200,
        {"items": [""]},
    )
    assert await thread.status() == "idle"


async def test_an_event_at_the_limit_is_kept(small: Cluster) -> None:
    thread = await Thread.create(small.url)
    size = MAX_BYTES - len('{"number":0,"text":""}')
    fields: dict[str, Any] = {"configurable": {"sizes": [size, size + 1]}, "stream_mode": "custom"}
    async with await thread.stream("small", **fields) as response:
        events = await response.events()
    assert [event.name for event in events] == ["metadata", "custom", "error", "end"]
    assert events[1].data == {"number": 0, "text": "x" * size}


async def test_a_state_over_the_event_limit_stays_in_its_checkpoint(small: Cluster) -> None:
    thread = await Thread.create(small.url)
    body = {"assistant_id": "small", "config": {"configurable": {"state": MAX_BYTES}}, "input": {}}
    async with await RawResponse.open(
        small.url, "POST", f"{thread.runs_path}/wait", body
    ) as response:
        answer = json.loads(await response.rest())
        run_id = response.headers["content-location"].rpartition("/")[2]
    assert answer["__error__"]["error"] == "StateTooLarge"
    assert f"STREAM_MAX_EVENT_BYTES is {MAX_BYTES}" in answer["__error__"]["message"]
    assert await call_api(small.url, "GET", f"{thread.runs_path}/{run_id}/join") == (200, answer)
    assert (await thread.run(run_id))["status"] == "success"
    status, record = await call_api(small.url, "GET", f"/threads/{thread.id}")
    assert (status, record["status"], record["values"]) == (200, "idle", None)
    status, state = await call_api(small.url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"], state["next"]) == (200, {"items": ["y" * MAX_BYTES]}, [])
    # The event with the state was dropped too.
    names = [event.name for event in await thread.replay(run_id)]
    assert names == ["metadata", "error", "end"]
    # The state stays complete for the next run.
    await thread.ended(await thread.start("small"))
    status, state = await call_api(small.url, "GET", f"/threads/{thread.id}/state")
    assert [len(item) for item in state["values"]["items"]] == [MAX_BYTES, 0]


def memory(pid: int) -> int:
    """Returns the resident memory of a process in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(kilobytes) * 1024


async def read_slowly(url: str, path: str, first: asyncio.Event, hurry: asyncio.Event) -> bytes:
    """Replays a stream a few bytes at a time until `hurry` is set. Returns the body."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=4096)
    head = f"GET {path} HTTP/1.1\r\nconnection: close\r\nhost: {address.netloc}\r\nlast-event-id: -1\r\n\r\n"
    writer.write(head.encode())
    taken = bytearray()
    try:
        async with asyncio.timeout(60):
            while piece := await reader.read(1 << 20 if hurry.is_set() else 50):
                taken += piece
                first.set()
                if not hurry.is_set():
                    await asyncio.sleep(0.01)
    finally:
        writer.close()
        await writer.wait_closed()
    head_end = taken.index(b"\r\n\r\n") + 4
    assert b" 200 " in taken[:head_end]
    return unchunked(bytes(taken[head_end:]))


def unchunked(raw: bytes) -> bytes:
    """Returns the content of a chunked body. Fails without its last chunk."""
    parts, at, size = [], 0, 1
    while size:
        line_end = raw.index(b"\r\n", at)
        size = int(raw[at:line_end], 16)
        parts.append(raw[line_end + 2 : line_end + 2 + size])
        at = line_end + 2 + size + 2
    assert at == len(raw)
    return b"".join(parts)


def whole(raw: bytes) -> None:
    """Fails unless the body has all events, each once."""
    events = parse(raw)
    assert [event.name for event in events] == ["metadata", *["custom"] * COUNT, "end"]
    assert [event.data["number"] for event in events[1:-1]] == list(range(COUNT))
    assert {event.data["text"] for event in events[1:-1]} == {"x" * MEGABYTE}


async def test_many_large_events_reach_fast_and_slow_clients(worker_cluster: Cluster) -> None:
    worker_cluster.ready_workers(1)
    thread = await Thread.create(worker_cluster.url)
    before = memory(worker_cluster.api.pid)
    first, hurry = asyncio.Event(), asyncio.Event()
    knobs: dict[str, Any] = {"sizes": [MEGABYTE] * COUNT}
    async with await thread.stream("bulk", configurable=knobs, stream_mode="custom") as response:
        _, run_id = response.ids
        address = f"{thread.runs_path}/{run_id}/stream"
        slow = [
            asyncio.create_task(read_slowly(worker_cluster.url, address, first, hurry))
            for _ in range(3)
        ]
        await first.wait()
        followed = await response.rest()
    whole(followed)
    async with await thread.join(run_id, "-1") as again:
        assert await again.events() == parse(followed)
    # The slow clients are near the beginning: the rest of their events is only in Redis.
    assert not any(task.done() for task in slow)
    grown = memory(worker_cluster.api.pid) - before
    print("grown by MB:", grown / 1e6)  # noqa: T201
    assert grown < 200e6
    hurry.set()
    for body in await asyncio.gather(*slow):
        whole(body)
    assert memory(worker_cluster.api.pid) - before < 200e6
    assert (await call_api(worker_cluster.url, "DELETE", f"/threads/{thread.id}"))[0] == 204
