"""Clients that follow the master, with two real servers and a simulated sentinel."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from contract.fake_sentinel import FakeSentinel
from contract.loop_thread import LoopThread
from harness.waiting import until
from millstream.cli.embedded import HOST, EmbeddedRedis
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED, Client, connect
from millstream.shared.redis import sentinel as following
from millstream.shared.redis.subscriber import Subscriber

WRITE = "return redis.call('INCR', KEYS[1])"
HASH = hashlib.sha1(WRITE.encode()).hexdigest()


@pytest.fixture
def fake_sentinel() -> Iterator[FakeSentinel]:
    with FakeSentinel() as fake_sentinel:
        yield fake_sentinel


@dataclass
class Pair:
    """Two servers, each with a client that uses no sentinel."""

    first: EmbeddedRedis
    second: EmbeddedRedis
    to_first: "Redis"
    to_second: "Redis"

    async def demote_first(self) -> None:
        """Makes the first server a replica. Unlike a sentinel, it does not disconnect its clients."""
        await self.to_first.replicaof(HOST, str(self.second.port))


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[EmbeddedRedis, EmbeddedRedis]]:
    folder = tmp_path_factory.mktemp("pair")
    with (
        EmbeddedRedis(folder / "first", appendonly=False, modules=False, password="") as first,
        EmbeddedRedis(folder / "second", appendonly=False, modules=False, password="") as second,
    ):
        yield first, second


@pytest.fixture
async def pair(servers: tuple[EmbeddedRedis, EmbeddedRedis]) -> AsyncIterator[Pair]:
    """Two empty masters."""
    clients = [Redis(host=HOST, port=server.port) for server in servers]
    for client in clients:
        await client.replicaof("NO", "ONE")
        await client.config_set("min-replicas-to-write", 0)
        await client.flushall()
        await client.script_load(WRITE)
    yield Pair(*servers, *clients)
    for client in clients:
        await client.aclose()


@pytest.fixture
async def client(fake_sentinel: FakeSentinel, pair: Pair) -> AsyncIterator[Client]:
    """A client with a connection to the first server."""
    fake_sentinel.master = pair.first
    client = connect(f"redis+sentinel://{fake_sentinel.address}/main")
    assert await client.incr("before") == 1
    yield client
    await client.aclose()


async def retry_while_unavailable(write: Callable[[], Awaitable[Any]]) -> Any:
    """Repeats a write until Redis is available. Returns its result."""

    async def written() -> Any:
        try:
            return await write()
        except UNAVAILABLE:
            return None

    return await until(written)


async def pop(client: Client, key: str, within: Any) -> Any:
    """Pops from the list with a blocking command. Returns None after `seconds`."""
    return await client.blpop([key], timeout=within)  # type: ignore[misc]


async def plain(client: Client) -> Any:
    return await client.incr("n")


async def script(client: Client) -> Any:
    return await client.eval(WRITE, 1, "n")  # type: ignore[misc]


async def script_by_hash(client: Client) -> Any:
    return await client.evalsha(HASH, 1, "n")  # type: ignore[misc]


async def pipeline(client: Client) -> Any:
    pipe = client.pipeline(transaction=False)
    pipe.get("other")
    pipe.incr("n")
    return (await pipe.execute())[-1]


async def pipeline_of_scripts(client: Client) -> Any:
    pipe = client.pipeline(transaction=False)
    pipe.get("other")
    pipe.evalsha(HASH, 1, "n")
    return (await pipe.execute())[-1]


async def transaction(client: Client) -> Any:
    pipe = client.pipeline(transaction=True)
    pipe.get("other")
    pipe.incr("n")
    return (await pipe.execute())[-1]


async def transaction_of_scripts(client: Client) -> Any:
    pipe = client.pipeline(transaction=True)
    pipe.evalsha(HASH, 1, "n")
    return (await pipe.execute())[-1]


WRITES = [
    plain,
    script,
    script_by_hash,
    pipeline,
    pipeline_of_scripts,
    transaction,
    transaction_of_scripts,
]


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_rejected_by_a_replica_goes_to_the_new_master(
    write: Callable[[Client], Awaitable[Any]],
    client: Client,
    pair: Pair,
    fake_sentinel: FakeSentinel,
) -> None:
    await pair.demote_first()
    fake_sentinel.master = pair.second
    assert await retry_while_unavailable(lambda: write(client)) == 1
    assert await pair.to_second.get("n") == b"1"
    assert await write(client) == 2


async def test_a_thread_with_a_loop_of_its_own_moves_to_the_new_master(
    pair: Pair, fake_sentinel: FakeSentinel
) -> None:
    """The heartbeat renews and listens in such a thread."""
    fake_sentinel.master = pair.first
    url = f"redis+sentinel://{fake_sentinel.address}/main"
    client = connect(url, reply_timeout=None, repeats=0)
    received: list[bytes] = []
    subscriber = Subscriber(client, lambda channel, confirmed, data: received.append(data))
    with LoopThread() as thread:
        listening = thread.submit(subscriber.run())
        await thread.run(subscriber.listen("bell"))

        async def write_in_the_thread() -> Any:
            return await thread.run(pipeline_of_scripts(client))

        assert await write_in_the_thread() == 1
        await pair.to_first.set("n", 0)
        await pair.demote_first()
        fake_sentinel.master = pair.second
        assert await retry_while_unavailable(write_in_the_thread) == 1
        assert await pair.to_second.get("n") == b"1"

        # As Sentinel does with subscribed clients.
        await pair.to_first.client_kill_filter(_type="pubsub")

        async def is_received() -> bool:
            await pair.to_second.publish("bell", "ding")
            return b"ding" in received

        await until(is_received)
        assert await pair.to_second.pubsub_numsub("bell") == [(b"bell", 1)]
        listening.cancel()
        await thread.run(client.aclose())


async def test_a_replica_is_not_accepted_as_the_master(
    pair: Pair, fake_sentinel: FakeSentinel
) -> None:
    await pair.demote_first()
    fake_sentinel.master = pair.first
    client = connect(f"redis+sentinel://{fake_sentinel.address}/main")
    with pytest.raises(UNAVAILABLE, match="is a replica, not a master"):
        await client.get("n")
    fake_sentinel.master = pair.second
    await retry_while_unavailable(lambda: client.incr("n"))
    await client.aclose()


async def test_a_sentinel_with_an_old_answer_is_no_longer_first(
    pair: Pair, fake_sentinel: FakeSentinel
) -> None:
    await pair.demote_first()
    fake_sentinel.master = pair.first
    with FakeSentinel() as other:
        other.master = pair.second
        client = connect(f"redis+sentinel://{fake_sentinel.address},{other.address}/main")
        await retry_while_unavailable(lambda: client.incr("n"))
        assert await pair.to_second.get("n") == b"1"
        await client.aclose()


async def test_a_user_without_hello_is_accepted(pair: Pair, fake_sentinel: FakeSentinel) -> None:
    await pair.to_first.execute_command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-hello")  # type: ignore[no-untyped-call]  # fmt: skip
    fake_sentinel.master = pair.first
    client = connect(f"redis+sentinel://bob:pw@{fake_sentinel.address}/main/1")
    assert await client.incr("n") == 1
    assert await pair.to_first.get("n") is None  # it is in database 1
    await client.aclose()


async def test_a_write_rejected_for_too_few_replicas_asks_the_sentinels(
    client: Client, pair: Pair, fake_sentinel: FakeSentinel
) -> None:
    await pair.to_first.config_set("min-replicas-to-write", 1)
    with pytest.raises(WRITES_REJECTED):
        await client.incr("n")
    with pytest.raises(WRITES_REJECTED):
        await script(client)
    with pytest.raises(WRITES_REJECTED):
        await pipeline(client)
    fake_sentinel.master = pair.second
    assert await until(lambda: accepted(client)) == 1


async def accepted(client: Client) -> Any:
    try:
        return await client.incr("n")
    except WRITES_REJECTED:
        return None


async def test_sentinels_are_tried_one_after_the_other(
    pair: Pair, fake_sentinel: FakeSentinel
) -> None:
    with FakeSentinel() as mute, FakeSentinel() as ignorant:
        mute.silent = True
        fake_sentinel.master = pair.first
        addresses = f"{HOST}:1,{mute.address},{ignorant.address},{fake_sentinel.address}"
        client = connect(f"redis+sentinel://{addresses}/main")
        assert await client.incr("n") == 1
        assert (mute.requests, ignorant.requests, fake_sentinel.requests) == (1, 1, 1)
        await asyncio.gather(*(client.incr("n") for _ in range(50)))
        assert mute.requests == 1  # the sentinel that replied last is asked first
        await client.aclose()


async def test_many_connections_ask_once_for_a_failover(
    client: Client, pair: Pair, fake_sentinel: FakeSentinel
) -> None:
    async def at_once(connections: int) -> None:
        await asyncio.gather(*(pop(client, "none", 0.1) for _ in range(connections)))

    await at_once(40)
    fake_sentinel.master = pair.second
    before, began = fake_sentinel.requests, time.monotonic()
    await pair.to_first.client_kill_filter(_type="normal", skipme=True)
    await at_once(40)
    limit = (time.monotonic() - began) / following.CACHE_SECONDS + 2
    assert fake_sentinel.requests - before <= limit
    assert len(await pair.to_second.client_list()) > 30


async def test_a_live_master_needs_no_sentinel(
    client: Client, pair: Pair, fake_sentinel: FakeSentinel
) -> None:
    fake_sentinel.master = None
    await pair.to_first.client_kill_filter(_type="normal", skipme=True)
    await asyncio.gather(*(client.incr("n") for _ in range(10)))
    await pair.demote_first()
    with pytest.raises(UNAVAILABLE, match="replica"):
        await client.incr("n")
    fake_sentinel.master = pair.second
    await retry_while_unavailable(lambda: client.incr("n"))
    assert await pair.to_second.get("n") == b"1"


async def test_without_a_master_redis_is_unavailable(fake_sentinel: FakeSentinel) -> None:
    for url in (
        f"{fake_sentinel.address}/main",
        f"{fake_sentinel.address}/other",
        f"{HOST}:1/main",
    ):
        client = connect(f"redis+sentinel://:secret@{url}")
        with pytest.raises(UNAVAILABLE, match="No sentinel knows the address of the master") as no:
            await client.ping()
        assert "secret" not in str(no.value)
        await client.aclose()


async def test_a_sentinel_may_require_a_password(pair: Pair, fake_sentinel: FakeSentinel) -> None:
    fake_sentinel.master, fake_sentinel.password = pair.first, "s&m"
    client = connect(f"redis+sentinel://{fake_sentinel.address}/main")
    with pytest.raises(UNAVAILABLE, match="Authentication required"):
        await client.ping()
    await client.aclose()
    login = "sentinel_username=sam&sentinel_password=s%26m"
    client = connect(f"redis+sentinel://{fake_sentinel.address}/main?{login}")
    assert await client.ping()
    await client.aclose()


async def test_at_the_connection_limit_callers_wait_and_then_fail_as_unavailable(
    pair: Pair, fake_sentinel: FakeSentinel
) -> None:
    fake_sentinel.master = pair.first
    client = connect(
        f"redis+sentinel://{fake_sentinel.address}/main", connections=1, reply_timeout=None
    )
    held = asyncio.create_task(pop(client, "none", 0.5))
    await until(lambda: not client.connection_pool.can_get_connection())
    assert await client.ping()  # after the caller that holds the connection
    assert await held is None
    held = asyncio.create_task(pop(client, "none", 0.5))
    await until(lambda: not client.connection_pool.can_get_connection())
    pool: Any = client.connection_pool
    pool.timeout = 0.05
    with pytest.raises(UNAVAILABLE, match="No connection available"):
        await client.ping()
    await held
    await client.aclose()


async def test_blocking_and_subscribed_clients_notice_a_lost_master(
    pair: Pair, fake_sentinel: FakeSentinel
) -> None:
    """The old master neither closes its connections nor replies, and is no replica."""
    fake_sentinel.master = pair.first
    url = f"redis+sentinel://{fake_sentinel.address}/main"
    client = connect(url, reply_timeout=None)
    notified: list[bytes] = []
    subscriber = Subscriber(client, lambda channel, confirmed, message: notified.append(message))
    listening = asyncio.create_task(subscriber.run())
    await subscriber.listen("bell")
    popping = asyncio.create_task(pop(client, "list", 30))
    await until(lambda: notified)
    fake_sentinel.master = pair.second
    await until(lambda: len(notified) > 1, what="that the doorbells listen again")
    await pair.to_second.publish("bell", "ding")
    await until(lambda: b"ding" in notified)
    await pair.to_second.rpush("list", "word")  # type: ignore[misc]
    assert await popping == (b"list", b"word")
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await client.aclose()


async def test_a_blocking_command_ends_on_a_hanging_server(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.shared.redis.clients.GRACE", 0.2)
    client = connect(pair.first.url, reply_timeout=None)
    await client.ping()
    await pair.to_first.client_pause(1500)
    began = time.monotonic()
    with pytest.raises(UNAVAILABLE, match="no reply within"):
        await pop(client, "none", 0.1)
    assert time.monotonic() - began < 1.4
    await pair.to_first.client_unpause()
    await client.aclose()
