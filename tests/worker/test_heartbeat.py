"""The thread that renews leases: it recovers from every outage, and a worker without it ends."""

import asyncio
import gc
import os
import select
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool

from contract.builders import admit, running
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, scripts
from millstream.shared.observer import RunObserver
from millstream.shared.queue import redis_time
from millstream.shared.redis import clients, connect
from millstream.shared.rules.lease_policy import LeasePolicy
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Claim
from millstream.shared.scripts.runs.renew import renew_all
from millstream.worker.leases import heartbeat
from millstream.worker.leases.availability import RedisAvailability
from millstream.worker.leases.heartbeat import Heartbeat
from millstream.worker.leases.thread_loop import ThreadLoop
from millstream.worker.stop_reason import StopReason

LEASE = 1.0  # s
MARGIN = 0.2  # s beyond a lease: in an outage too there is a beat in it
POLICY = LeasePolicy(LEASE, margin=MARGIN)


class Renewals(RunObserver):
    """Notes each renewal: how many leases, how late."""

    def __init__(self) -> None:
        self.noted: list[tuple[int, float]] = []

    def renewed(self, count: int, late: float) -> None:
        self.noted.append((count, late))


class Held:
    """A run that a heartbeat holds, on a separate Redis."""

    def __init__(
        self,
        server: EmbeddedRedis,
        heartbeat: Heartbeat,
        availability: RedisAvailability,
        claim: Claim,
        observer: Renewals,
    ) -> None:
        self.server = server
        self.availability = availability
        self.heartbeat = heartbeat
        self.claim = claim
        self.heard: list[StopReason] = []
        self.observer = observer
        self.redis = connect(server.url)

    async def lease(self) -> float:
        """Returns the remaining seconds of the lease."""
        ends = await self.redis.zscore(keys.queue(self.claim.spec.queue), self.claim.job)
        return (ends or 0) / 1000 - await redis_time(self.redis)


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[Held]:
    with EmbeddedRedis(tmp_path, appendfsync="no") as server:
        client = connect(server.url)
        availability = RedisAvailability(POLICY)
        observer = Renewals()
        beating = Heartbeat(server.url, "w1", availability, POLICY, observer)
        held = Held(server, beating, availability, await running(client), observer)
        await client.aclose()
        held.heartbeat.start()
        held.heartbeat.hold(held.claim, held.heard.append, since=time.monotonic(), max_seconds=60)
        yield held
        held.heartbeat.stop()
        await held.redis.aclose()


async def pause(seconds: float) -> None:
    """Returns after that time."""
    over = time.monotonic() + seconds
    await until(lambda: time.monotonic() >= over, within=seconds + 5)


async def renews(held: Held) -> None:
    """Waits until the lease has been renewed, twice."""
    for _ in range(2):
        await until(lambda: short(held), what="a lease that grows old")
        await until(lambda: fresh(held), what="a renewed lease")


async def short(held: Held) -> bool:
    return await held.lease() < 0.85 * LEASE


async def fresh(held: Held) -> bool:
    return await held.lease() > 0.9 * LEASE


async def test_leases_are_renewed_and_a_cancel_is_delivered(held: Held) -> None:
    await held.redis.script_flush()
    await renews(held)
    spec = held.claim.spec
    await scripts.cancel(held.redis, spec.thread_id, spec.run_id, CancelAction.ROLLBACK)
    await until(lambda: held.heard[:1] == [StopReason.CANCELLED])
    await renews(held)
    assert len(held.observer.noted) >= 3
    assert all(count == 1 and 0 <= late < LEASE for count, late in held.observer.noted)


async def test_the_heartbeat_recovers_from_each_outage_despite_garbage_collection(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that are collected in the middle of a pool's work must not hang the thread."""
    make, read = BlockingConnectionPool.make_connection, AbstractConnection.read_response

    def make_connection(pool: Any) -> Any:
        gc.collect()
        return make(pool)  # type: ignore[no-untyped-call]

    async def read_response(connection: Any, *args: Any, **options: Any) -> Any:
        try:
            return await read(connection, *args, **options)
        except Exception:
            ring: list[Any] = [connection]  # as its own frames make one, at times, with the error
            ring.append(ring)
            raise

    monkeypatch.setattr(BlockingConnectionPool, "make_connection", make_connection)
    monkeypatch.setattr(AbstractConnection, "read_response", read_response)
    monkeypatch.setattr(
        heartbeat.log, "disabled", True
    )  # pytest keeps what is logged, and so the error
    gc.disable()  # at no other time
    gc.freeze()  # only what the test makes is collected
    try:
        for _ in range(3):
            held.server.kill()
            await pause(0.5)
            held.server.start()
            await renews(held)
    finally:
        gc.enable()
    assert StopReason.LOST not in held.heard


async def test_in_a_long_outage_the_lease_is_reported_as_lapsed(
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


async def test_a_lease_lapses_in_time_while_redis_is_silent(held: Held) -> None:
    """The greeting of a new connection may take five times as long as this lease."""
    await renews(held)
    os.kill(held.server.pid, signal.SIGSTOP)
    try:
        await until(lambda: StopReason.LAPSED in held.heard, within=clients.GRACE - LEASE)
    finally:
        os.kill(held.server.pid, signal.SIGCONT)
    await renews(held)


async def test_a_name_that_cannot_be_resolved_is_an_error() -> None:
    def resolve() -> None:
        with asyncio.Runner(loop_factory=ThreadLoop) as runner:
            loop = runner.get_loop()
            runner.run(asyncio.wait_for(loop.getaddrinfo("a" * 64 + ".example", 6379), 5))

    with pytest.raises(UnicodeError):
        await asyncio.to_thread(resolve)


async def test_a_lease_of_another_worker_is_lost(held: Held) -> None:
    run = keys.run(held.claim.spec.thread_id, held.claim.spec.run_id)
    await held.redis.hset(run, "fence", str(held.claim.fence + 1))  # type: ignore[misc]
    await until(lambda: StopReason.LOST in held.heard)
    held.heartbeat.release(held.claim)
    await admit(held.redis)


async def test_a_stalled_heartbeat_is_noticed(held: Held) -> None:
    every = POLICY.stalled_after
    watching = asyncio.create_task(held.heartbeat.watch())
    held.server.kill()
    await pause(3 * every)
    assert not watching.done()
    released = threading.Event()
    held.heartbeat._runner.get_loop().call_soon_threadsafe(block, released.is_set)
    held.server.start()
    try:
        await asyncio.wait_for(watching, 6 * every)
    finally:
        released.set()


@pytest.mark.parametrize("hog", ["blocks the loop", "holds the interpreter in slices", "threads"])
async def test_code_that_blocks_the_worker_loses_no_lease(held: Held, hog: str) -> None:
    until_then = time.monotonic() + 3 * LEASE
    others = [threading.Thread(target=spin, args=(until_then,)) for _ in range(3)]
    for thread in others if hog == "threads" else []:
        thread.start()
    if hog == "blocks the loop":
        block(lambda: time.monotonic() > until_then)
    else:
        spin(until_then, at_a_time=2_000_000 if hog != "threads" else 10_000)
    assert await held.lease() > 0
    for thread in others if hog == "threads" else []:
        thread.join()
    assert not held.heard
    assert held.availability.lease_grace() == 0


def block(is_over: Callable[[], bool]) -> None:
    """Blocks the thread until it is over."""
    while not is_over():
        select.select([], [], [], 0.01)


def spin(until_then: float, at_a_time: int = 10_000) -> None:
    """Computes, and holds the interpreter's lock for `at_a_time` additions."""
    while time.monotonic() < until_then:
        sum(range(at_a_time))


async def test_a_reply_that_the_thread_reads_late_counts(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[float] = []

    async def held_up(*args: Any) -> Any:
        renewing = asyncio.ensure_future(renew_all(*args))
        await asyncio.sleep(0)
        late.append(time.monotonic() + 1.5 * POLICY.reply_timeout)
        block(lambda: time.monotonic() > late[-1])
        return await renewing

    monkeypatch.setattr(heartbeat, "renew_all", held_up)
    await until(lambda: len(late) >= 2)
    await until(lambda: fresh(held))
    assert not held.heard
    assert held.availability.lease_grace() == 0


@pytest.mark.parametrize("fault", ["none", "redis is silent", "redis is gone", "no name server"])
async def test_the_heartbeat_stops_in_time(
    held: Held, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping, silence = held.heartbeat, threading.Event()
    await renews(held)
    if fault == "redis is silent":
        os.kill(held.server.pid, signal.SIGSTOP)
    if fault == "redis is gone":
        held.server.kill()
    if fault == "no name server":
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: silence.wait())
        stopping = Heartbeat("redis://redis.example:6379", "w2", held.availability, POLICY)
        stopping.hold(held.claim, held.heard.append, since=time.monotonic(), max_seconds=60)
        stopping.start()
        await until(lambda: [x for x in threading.enumerate() if x.name == "resolver"])
    else:
        await pause(0.1)
    began = time.monotonic()
    stopping.stop()
    try:
        assert time.monotonic() - began < heartbeat.STOP_SECONDS
        assert not stopping._thread.is_alive()
        # Python waits at its end for threads that are not daemons.
        mine = [x for x in threading.enumerate() if x.name in ("heartbeat", "resolver")]
        assert all(thread.daemon for thread in mine)
    finally:
        silence.set()
        if fault == "redis is silent":
            os.kill(held.server.pid, signal.SIGCONT)


async def test_an_outage_while_no_lease_is_held_is_noticed(held: Held) -> None:
    held.heartbeat.release(held.claim)
    await until(lambda: held.availability.lease_grace() == 0)
    held.server.kill()
    await until(lambda: held.availability.lease_grace() == LEASE)
