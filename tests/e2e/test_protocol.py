"""The event streaming protocol while processes die and are replaced: each event once, in one order."""

import asyncio
from itertools import pairwise
from typing import Any, Literal

import httpx
import pytest
from langgraph_sdk import get_client

from e2e.conftest import Cluster, NodeLog
from harness.api_proxy import ApiProxy
from harness.event_stream import follow, start
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("worker_cluster")

STEPS = 6
TOKENS = 120


async def test_event_streams_survive_a_killed_worker_and_agree_over_two_apis(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    worker_cluster.ready_workers(2)
    other = worker_cluster.fleet.api().wait_ready()
    knobs = {"configurable": {"log": str(log), "n": STEPS, "delay": 0.2}}
    async with (
        httpx.AsyncClient(base_url=worker_cluster.url, timeout=30) as one,
        httpx.AsyncClient(base_url=other.url, timeout=30) as two,
    ):
        thread = (await one.post("/threads", json={})).json()["thread_id"]
        async with follow(one, thread) as first, follow(two, thread) as second:
            await start(one, thread, "track", config=knobs, durability="sync")
            await until(lambda: len(first.data_of("custom")) >= 3)
            worker_cluster.worker(log.notes()[-1]["pid"]).kill()
            whole = list(await first.ended())
            assert await second.at_least(len(whole)) == whole
        async with follow(two, thread, since=0) as replay:
            assert await replay.at_least(len(whole)) == whole
    assert all(before["seq"] < after["seq"] for before, after in pairwise(whole))
    assert len({event["event_id"] for event in whole}) == len(whole)
    assert first.lifecycle == ["running", "running", "completed"]
    assert first.data_of("values")[-1] == {"items": list(range(STEPS))}
    assert [note["step"] for note in log.notes("end")] == list(range(STEPS))
    other.stop()


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_the_sdk_does_not_notice_a_deploy(
    worker_cluster: Cluster, transport: Literal["sse", "websocket"]
) -> None:
    worker_cluster.ready_workers(1)
    old, new = worker_cluster.fleet.api(), worker_cluster.fleet.api()
    for process in (old, new):
        process.wait_ready()
    async with ApiProxy() as gate:
        gate.route_to(old.url)
        async with (
            get_client(url=gate.url) as client,
            client.threads.stream(assistant_id="chat", transport=transport) as stream,
        ):
            run_input: Any = {"messages": [{"role": "user", "content": "hello"}]}
            config = {"configurable": {"tokens": TOKENS, "delay": 0.03}}
            await stream.run.start(input=run_input, config=config)
            texts: list[str] = []

            async def listen() -> None:
                async for event in stream.subscribe(["messages"]):
                    data: Any = event["params"]["data"]
                    if data["event"] == "content-block-delta":
                        texts.append(data["delta"]["text"])

            listening = asyncio.create_task(listen())
            await until(lambda: len(texts) > 10)
            gate.route_to(new.url)
            old.stop()
            output: Any = await stream.output
            await asyncio.wait_for(listening, 10)
    assert len(texts) == TOKENS
    [text] = output["messages"][-1]["content"]
    assert "".join(texts) == text["text"]
    new.stop()
