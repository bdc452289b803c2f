"""The Redis master dies, or freezes, in the middle of a run; the sentinels elect another one."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from e2e.conftest import BEHAVIOUR, NodeLog, Thread, request
from e2e.raw_http import RawResponse, call_api
from harness.processes import Fleet
from harness.sentinel_cluster import SentinelCluster, client
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import UNAVAILABLE

pytestmark = [pytest.mark.xdist_group("sentinel"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelCluster]:
    with SentinelCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def fleet(cluster: SentinelCluster) -> Iterator[Fleet]:
    """An API and a worker whose lease is shorter than a failover. None of them may log an error or end."""
    with Fleet(cluster.url, KEEPALIVE_INTERVAL_SECS="0.1", LEASE_SECS="1") as fleet:
        fleet.api().wait_ready()
        fleet.worker(BEHAVIOUR).wait_ready()
        yield fleet
        for process in fleet.processes:
            assert process.process.poll() is None, process.lines
            errors = [
                error for error in process.errors if not error["logger"].startswith("redisvl")
            ]
            assert not errors, "\n".join(process.lines)


async def run_succeeds(url: str) -> bool:
    """Returns whether a run succeeds. Fails if the response is neither that nor a 503 with retry-after."""
    body = request("track", configurable={"n": 2})
    async with await RawResponse.open(url, "POST", "/runs/wait", body) as response:
        await response.rest()
        assert response.status in (200, 503), response.body
        if response.status == 503:
            assert response.headers["retry-after"]
        return response.status == 200 and b'"items":[0,1]' in response.body.replace(b" ", b"")


async def connections(server: EmbeddedRedis) -> list[str]:
    """Returns the last command of each connection of the product."""
    async with client(server) as redis:
        try:
            clients = await redis.client_list()
        except UNAVAILABLE:
            return ["unknown"]  # a master that is just demoted closes this connection too
    return [
        "subscribe"
        if "P" in each["flags"]
        else each["cmd"]  # a subscribed connection may have sent a ping
        for each in clients
        if each["flags"] not in ("M", "S")
        and not each["name"].startswith("sentinel-")
        and not each["cmd"].startswith("client")
    ]


async def all_are_connected_to(master: EmbeddedRedis, *, not_to: EmbeddedRedis) -> None:
    """Waits until all connections have moved to the master: subscribed, blocking and other ones."""

    async def moved() -> bool:
        return not await connections(not_to) and {"subscribe", "blpop"} <= set(
            await connections(master)
        )

    await until(moved, within=30, what="that all connections have moved")


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_run_survives_a_failover(
    cluster: SentinelCluster, fleet: Fleet, log: NodeLog, how: str
) -> None:
    url = fleet.processes[0].url
    old = await cluster.wait_settled()
    [replica] = [server for server in cluster.servers if server is not old]
    thread = await Thread.create(url)
    async with await thread.stream(
        "gate", configurable={"log": str(log)}, stream_mode="custom"
    ) as response:
        await response.until_events(3, "custom")
        _, run_id = response.ids
        await cluster.wait_replica(replica)  # else what was written last is lost with the master
        if how == "killed":
            old.kill()
        else:
            os.kill(old.pid, signal.SIGSTOP)
        began = time.monotonic()
        new = await cluster.wait_failover(old)
        elected = time.monotonic()
        assert new is replica
        await until(lambda: run_succeeds(url), within=60, what="a run on the new master")
        served = time.monotonic()
        log.open_gate()
        events = await response.events()
        ended = time.monotonic()
    print(  # noqa: T201
        f"{how}: new master after {elected - began:.1f} s, runs after {served - began:.1f} s, "
        f"the stream in flight ended after {ended - began:.1f} s"
    )
    assert [event.name for event in events][-1] == "end"
    assert await thread.ended(run_id) == "success"
    assert await thread.replay(run_id) == events

    # The old master returns as a master, until a sentinel makes it a replica.
    if how == "killed":
        old.start()
    else:
        os.kill(old.pid, signal.SIGCONT)
    assert await cluster.wait_settled() is new
    await until(lambda: run_succeeds(url))

    await all_are_connected_to(new, not_to=old)
    status, state = await call_api(url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"]["items"]) == (200, ["passed"])


async def test_connections_leave_a_demoted_master(cluster: SentinelCluster, fleet: Fleet) -> None:
    """A sentinel gets the command for a failover while a run streams."""
    url = fleet.processes[0].url
    old = await cluster.wait_settled()
    thread = await Thread.create(url)
    knobs = {"n": 40, "delay": 0.05}
    async with await thread.stream("track", configurable=knobs, stream_mode="custom") as response:
        await response.until_events(2, "custom")
        _, run_id = response.ids
        assert await cluster.sentinels[0].ask("FAILOVER")
        new = await cluster.wait_failover(old)
        events = await response.events()
    assert events[-1].name == "end"
    assert await thread.ended(run_id) == "success", events[-3:]
    await all_are_connected_to(new, not_to=old)
    assert await run_succeeds(url)


async def test_without_sentinels_a_live_master_serves_and_a_dead_one_is_awaited(
    cluster: SentinelCluster, fleet: Fleet
) -> None:
    url = fleet.processes[0].url
    old = await cluster.wait_settled()
    for sentinel in cluster.sentinels:
        sentinel.kill()
    assert await run_succeeds(url)  # nobody needs a sentinel while the master stays
    old.kill()
    async with await RawResponse.open(url, "GET", "/ok") as response:
        await response.rest()
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
    late = fleet.api().wait_ready()  # an API starts all the same
    for sentinel in cluster.sentinels:
        sentinel.start()
    await cluster.wait_failover(old)
    await until(lambda: run_succeeds(url), within=30)
    await until(lambda: run_succeeds(late.url), within=30)
