"""A client disconnects: what happens to its run, and what its graph really does."""

import asyncio
import json
import signal
import time
from typing import Any

import pytest

from e2e.conftest import Cluster, NodeLog, Thread, request
from e2e.raw_http import RawResponse, call_api
from harness.processes import Process
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("stream_cluster")

END_SECONDS = 8.0  # within which a run without its client ends


class Followed:
    """A run and its creator's connection, stateful or stateless, by /stream or /wait."""

    def __init__(self, response: RawResponse, thread_id: str, run_id: str) -> None:
        self.wire = response
        self.run_id = run_id
        self.thread = Thread(response.url, thread_id)

    @classmethod
    async def create(cls, url: str, verb: str, state: str, body: dict[str, Any]) -> "Followed":
        path = "/runs"
        if state == "stateful":
            path = (await Thread.create(url)).runs_path
        response = await RawResponse.open(url, "POST", f"{path}/{verb}", body)
        assert response.status == 200, await response.rest()
        thread_id, run_id = response.ids
        if thread_id is None:
            thread_id = str((await call_api(url, "GET", f"/runs/{run_id}"))[1]["thread_id"])
        return cls(response, thread_id, run_id)


def linger(log: NodeLog, **fields: Any) -> dict[str, Any]:
    knobs = {"log": str(log), **fields.pop("knobs", {})}
    return request("linger", configurable=knobs, stream_mode="custom", **fields)


@pytest.fixture(params=["close", "reset"])
def leave(request: pytest.FixtureRequest) -> str:
    """How a client disconnects: with a FIN, or with an RST."""
    return str(request.param)


each_verb = pytest.mark.parametrize("verb", ["stream", "wait"])
each_state = pytest.mark.parametrize("state", ["stateful", "stateless"])
each_pace = pytest.mark.parametrize("busy", [0, 1], ids=["idle", "busy"])


@each_verb
@each_state
@each_pace
async def test_cancel_ends_the_run_and_stops_the_graph(
    stream_cluster: Cluster, log: NodeLog, leave: str, verb: str, state: str, busy: int
) -> None:
    # It is the default, so half of the requests omit it.
    options = {"on_disconnect": "cancel"} if verb == "wait" else {}
    body = linger(log, knobs={"busy": busy}, **options)
    run = await Followed.create(stream_cluster.url, verb, state, body)
    await log.noted("begin")
    if verb == "stream" and busy:
        await run.wire.until_events(5, "custom")
    left = time.monotonic()
    await getattr(run.wire, leave)()
    assert await run.thread.ended(run.run_id) == "interrupted"
    assert time.monotonic() - left < END_SECONDS
    await log.noted("stopped", within=10)
    assert not log.notes("end")


@each_verb
@each_state
@each_pace
async def test_continue_lets_the_run_succeed(
    stream_cluster: Cluster, log: NodeLog, leave: str, verb: str, state: str, busy: int
) -> None:
    body = linger(log, knobs={"busy": busy, "seconds": 0.4}, on_disconnect="continue")
    run = await Followed.create(stream_cluster.url, verb, state, body)
    await log.noted("begin")
    await getattr(run.wire, leave)()
    assert await run.thread.ended(run.run_id) == "success"
    assert [note["what"] for note in log.notes()] == ["begin", "end"]


@each_verb
async def test_a_disconnect_cancels_a_waiting_run_before_it_starts(
    stream_cluster: Cluster, log: NodeLog, leave: str, verb: str
) -> None:
    thread = await Thread.create(stream_cluster.url)
    first = await thread.start("linger", configurable={})
    response = await RawResponse.open(
        stream_cluster.url, "POST", f"{thread.runs_path}/{verb}", linger(log)
    )
    _, waiting = response.ids
    await getattr(response, leave)()
    assert await thread.ended(waiting, within=END_SECONDS) == "interrupted"
    await call_api(stream_cluster.url, "POST", f"{thread.runs_path}/{first}/cancel?wait=1")
    assert await thread.status() in ("idle", "interrupted")
    assert not log.notes()


async def test_a_disconnect_from_a_joined_stream_cancels_nothing(
    stream_cluster: Cluster, log: NodeLog, leave: str
) -> None:
    thread = await Thread.create(stream_cluster.url)
    run_id = await thread.start("linger", configurable={"log": str(log), "seconds": 0.5})
    await log.noted("begin")
    for path in (f"{run_id}/stream", f"{run_id}/join"):
        await getattr(
            await RawResponse.open(thread.url, "GET", f"{thread.runs_path}/{path}"), leave
        )()
    assert await thread.ended(run_id) == "success"


@pytest.mark.parametrize("verb", ["stream", "join"])
async def test_a_disconnect_from_a_joined_stream_cancels_if_requested(
    stream_cluster: Cluster, log: NodeLog, leave: str, verb: str
) -> None:
    thread = await Thread.create(stream_cluster.url)
    run_id = await thread.start("linger", configurable={"log": str(log)})
    await log.noted("begin")
    path = f"{thread.runs_path}/{run_id}/{verb}?cancel_on_disconnect=true"
    await getattr(await RawResponse.open(thread.url, "GET", path), leave)()
    assert await thread.ended(run_id, within=END_SECONDS) == "interrupted"
    await log.noted("stopped", within=10)


async def test_a_disconnect_after_the_end_changes_nothing(
    stream_cluster: Cluster, leave: str
) -> None:
    thread = await Thread.create(stream_cluster.url)
    response = await thread.stream("track")
    events = await response.events()
    await getattr(response, leave)()
    assert (await thread.run(response.ids[1]))["status"] == "success"
    assert await thread.replay(response.ids[1]) == events


async def watched_runs(api: Process, log: NodeLog) -> list[Followed]:
    """Returns runs with clients. A cancel after the loss of the clients would be visible in them."""
    runs = []
    for verb in ("stream", "wait"):
        for state in ("stateful", "stateless"):
            body = linger(log, knobs={"seconds": 1.5, "busy": 1}, on_disconnect="cancel")
            runs.append(await Followed.create(api.url, verb, state, body))
    await log.noted("begin", len(runs))
    return runs


async def test_a_killed_api_process_cancels_nothing(stream_cluster: Cluster, log: NodeLog) -> None:
    api = stream_cluster.fleet.api().wait_ready()
    runs = await watched_runs(api, log)
    api.kill()
    for run in runs:
        await run.wire.rest()
        assert not run.wire.ended
        await run.wire.close()
        run.thread.url = stream_cluster.url
        assert await run.thread.ended(run.run_id) == "success"


async def test_a_stopped_api_closes_its_streams_and_cancels_nothing(
    stream_cluster: Cluster, log: NodeLog
) -> None:
    api = stream_cluster.fleet.api().wait_ready()
    runs = await watched_runs(api, log)
    begun = time.monotonic()
    api.send(signal.SIGTERM)
    bodies = await asyncio.gather(*(run.wire.rest() for run in runs))
    await until(lambda: api.process.poll() is not None, within=10, what="the end of the process")
    assert time.monotonic() - begun < 10
    assert api.process.returncode in (0, -signal.SIGTERM)  # uvicorn ends by the signal it caught
    for run, body in zip(runs, bodies, strict=True):
        assert b"event: end" not in body
        await run.wire.close()
        run.thread.url = stream_cluster.url
        assert await run.thread.ended(run.run_id) == "success"
    streamed = runs[0]
    after = (await streamed.wire.events())[-1].id
    async with await streamed.thread.join(streamed.run_id, after) as response:
        rest = await response.events()
    assert await streamed.wire.events() + rest == await streamed.thread.replay(streamed.run_id)


async def test_wait_sends_keepalives_during_the_run(stream_cluster: Cluster) -> None:
    thread = await Thread.create(stream_cluster.url)
    body = request("linger", configurable={"seconds": 0.5})
    async with await RawResponse.open(
        stream_cluster.url, "POST", f"{thread.runs_path}/wait", body
    ) as response:
        raw = await response.rest()
    assert 3 <= len(raw) - len(raw.lstrip(b"\n")) <= 6
    assert json.loads(raw) == {"items": ["lingered"]}
