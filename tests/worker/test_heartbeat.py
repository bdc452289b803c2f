"""The thread that renews leases: it comes back after every outage, and a worker without it ends."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis
from redis.client import PubSub

from contract.builders import admit, running
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, scripts
from millstream.shared.queue import redis_time
from millstream.shared.redis import connect
from millstream.shared.rules.lease_policy import LeasePolicy
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Claim
from millstream.worker.leases import heartbeat
from millstream.worker.leases.availability import RedisAvailability
from millstream.worker.leases.heartbeat import Heartbeat
from millstream.worker.stop_reason import StopReason

pytestmark = pytest.mark.usefixtures("no_blocking_calls")
LEASE = 1.0  # s
MARGIN = 0.2  # s beyond a lease: in an outage too there is a beat in it
POLICY = LeasePolicy(LEASE, margin=MARGIN)


class Held:
    """A run that a heartbeat holds, on a Redis of the test's own."""

    def __init__(
        self,
        server: EmbeddedRedis,
        heartbeat: Heartbeat,
        availability: RedisAvailability,
        claim: Claim,
    ) -> None:
        self.server = server
        self.availability = availability
        self.heartbeat = heartbeat
        self.claim = claim
        self.heard: list[StopReason] = []
        self.redis = connect(server.url)

    async def lease(self) -> float:
        """Returns the seconds that are left of the lease."""
        ends = await self.redis.zscore(keys.queue(self.claim.spec.queue), self.claim.job)
        return (ends or 0) / 1000 - await redis_time(self.redis)


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[Held]:
    with EmbeddedRedis(tmp_path, appendfsync="no") as server:
        client = connect(server.url)
        availability = RedisAvailability(POLICY)
        beating = Heartbeat(server.url, "w1", availability, POLICY)
        held = Held(server, beating, availability, await running(client))
        await client.aclose()
        held.heartbeat.start()
        held.heartbeat.hold(held.claim, held.heard.append, since=time.monotonic(), at_most=60)
        yield held
        held.heartbeat.stop()
        await held.redis.aclose()


async def renews(held: Held) -> None:
    """Waits until the lease has been renewed, twice."""
    for _ in range(2):
        await until(lambda: short(held), what="a lease that grows old")
        await until(lambda: fresh(held), what="a renewed lease")


async def short(held: Held) -> bool:
    return await held.lease() < 0.85 * LEASE


async def fresh(held: Held) -> bool:
    return await held.lease() > 0.9 * LEASE


async def test_leases_are_renewed_and_a_cancel_is_heard_of(held: Held) -> None:
    await held.redis.script_flush()
    await renews(held)
    spec = held.claim.spec
    await scripts.cancel(held.redis, spec.thread_id, spec.run_id, CancelAction.ROLLBACK)
    await until(lambda: held.heard[:1] == [StopReason.CANCELLED])
    await renews(held)


async def test_it_comes_back_after_every_outage_whenever_garbage_is_collected(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription that is collected waits for a lock, which the same thread may hold just then."""
    made, got = sync_redis.ConnectionPool.make_connection, PubSub.get_message

    def make_connection(pool: Any) -> Any:
        gc.collect()
        return made(pool)

    def get_message(pubsub: Any, **options: Any) -> Any:
        try:
            return got(pubsub, **options)
        except Exception:
            ring: list[Any] = [pubsub]  # as its own frames make one, at times, with the error
            ring.append(ring)
            raise

    monkeypatch.setattr(sync_redis.ConnectionPool, "make_connection", make_connection)
    monkeypatch.setattr(PubSub, "get_message", get_message)
    monkeypatch.setattr(
        heartbeat.log, "disabled", True
    )  # pytest keeps what is logged, and so the error
    gc.disable()  # at no other time
    try:
        for _ in range(3):
            held.server.kill()
            at = time.monotonic() + 0.5
            await until(lambda at=at: time.monotonic() >= at)  # type: ignore[misc]
            held.server.start()
            await renews(held)
    finally:
        gc.enable()
    assert StopReason.LOST not in held.heard


async def test_who_asks_in_an_outage_that_outlasts_the_lease_hears_that_it_lapsed(
    held: Held,
) -> None:
    assert held.availability.lease_grace() == 0
    held.server.kill()
    await until(lambda: StopReason.LAPSED in held.heard, within=LEASE + 5)
    assert held.availability.lease_grace() == LEASE
    held.server.start()
    await renews(held)  # nobody has claimed it, and so it is still ours to hand back
    await until(lambda: held.availability.lease_grace() < LEASE)
    await until(lambda: held.availability.lease_grace() == 0)


async def test_a_lease_that_another_has_is_lost(held: Held) -> None:
    run = keys.run(held.claim.spec.thread_id, held.claim.spec.run_id)
    await held.redis.hset(run, "fence", str(held.claim.fence + 1))  # type: ignore[misc]
    await until(lambda: StopReason.LOST in held.heard)
    held.heartbeat.release(held.claim)
    await admit(held.redis)


async def test_a_heartbeat_that_stands_still_is_noticed(held: Held) -> None:
    every = POLICY.stalled_after
    watching = asyncio.create_task(held.heartbeat.watch())
    held.server.kill()
    over = time.monotonic() + 3 * every
    await until(lambda: time.monotonic() >= over, within=4 * every)
    assert not watching.done()
    with held.heartbeat._lock:  # as if it hung in there
        held.server.start()
        await asyncio.wait_for(watching, 6 * every)
