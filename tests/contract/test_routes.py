"""Which queue gets the runs of a graph that workers offer in several."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from contract.builders import end_pending, new_id
from contract.crons import a_cron, fire, fired, make_due
from millstream.shared import crons, keys, scripts
from millstream.shared.assistants import (
    GraphDirectory,
    announce,
    default_assistant_id,
    records,
)
from millstream.shared.redis import Client
from millstream.shared.runs.continuation import continuation
from millstream.shared.runs.submission import submission
from millstream.shared.wire import Assistant, GraphInfo, Project, RunRequest

CONTENDERS = 50
OTHERS = ("a", "b")


async def offer(
    redis: Client, *queues: str, declared: str | None = None, graph: str = "g", ttl: float = 60
) -> str:
    """A worker of the queues reports the graph; returns the queue that gets its runs."""
    routes = await scripts.offer_graphs(
        redis, queues, {graph: declared}, served_ttl=ttl, declared_ttl=ttl
    )
    return routes[graph]


async def expire(redis: Client, queue: str) -> None:
    """Ends the offers in a queue, as if its workers were gone for long."""
    for field in await redis.hkeys(keys.offers()):  # type: ignore[misc]
        if field.split(b" ")[1] == queue.encode():
            await redis.hset(keys.offers(), field, "1 2")  # type: ignore[misc]


async def test_the_queue_that_was_first_keeps_a_graph(any_redis: Client) -> None:
    assert await offer(any_redis, "b") == "b"
    for _ in range(3):
        assert await offer(any_redis, "a") == "b"
        assert await offer(any_redis, "b") == "b"


async def test_a_restart_within_the_offer_takes_no_graph(any_redis: Client) -> None:
    await offer(any_redis, "a")
    since = await any_redis.hget(keys.offers(), "served a g")  # type: ignore[misc]
    await offer(any_redis, "b")
    assert await offer(any_redis, "a") == "a"
    assert await any_redis.hget(keys.offers(), "served a g") == since  # type: ignore[misc]


async def test_a_queue_without_workers_loses_the_graph_for_good(any_redis: Client) -> None:
    await offer(any_redis, "a")
    await offer(any_redis, "b")
    await expire(any_redis, "a")
    assert await any_redis.hget(keys.routes(), "g") == b"a"  # type: ignore[misc]
    assert await offer(any_redis, "b") == "b"
    assert await offer(any_redis, "a") == "b"
    assert await any_redis.hlen(keys.offers()) == 2  # type: ignore[misc]


async def test_the_default_queue_goes_first_while_it_is_offered(any_redis: Client) -> None:
    assert await offer(any_redis, "a") == "a"
    assert await offer(any_redis, "default", "b") == "default"
    assert await offer(any_redis, "a") == "default"
    await expire(any_redis, "default")
    assert await offer(any_redis, "a") == "a"


async def test_a_declared_queue_goes_first_although_no_worker_serves_it(any_redis: Client) -> None:
    assert await offer(any_redis, "default") == "default"
    assert await offer(any_redis, "default", declared="gpu") == "gpu"
    assert await offer(any_redis, "default", "a") == "gpu"  # a worker of an earlier deployment
    assert await any_redis.smembers(keys.queues()) == {b"gpu"}  # type: ignore[misc]
    await expire(any_redis, "gpu")
    assert await offer(any_redis, "default") == "default"


async def test_a_newer_declaration_waits_for_the_end_of_the_earlier_one(any_redis: Client) -> None:
    """While a deployment replaces its workers one by one, the graph moves once."""
    assert await offer(any_redis, "default", declared="z") == "z"
    for _ in range(3):
        assert await offer(any_redis, "default", declared="a") == "z"
        assert await offer(any_redis, "default", declared="z") == "z"
    await expire(any_redis, "z")
    assert await offer(any_redis, "default", declared="a") == "a"


async def test_an_offer_is_renewed_in_its_second_half(any_redis: Client) -> None:
    await offer(any_redis, "a", ttl=60)
    first = await any_redis.hget(keys.offers(), "served a g")  # type: ignore[misc]
    await offer(any_redis, "a", ttl=60)
    assert await any_redis.hget(keys.offers(), "served a g") == first  # type: ignore[misc]
    since, until = map(int, first.split())
    await any_redis.hset(keys.offers(), "served a g", f"{since} {until - 31_000_000}")  # type: ignore[misc]
    await offer(any_redis, "a", ttl=60)
    assert int((await any_redis.hget(keys.offers(), "served a g")).split()[1]) >= until  # type: ignore[misc]


async def test_graphs_have_routes_of_their_own(any_redis: Client) -> None:
    graphs = {"g": None, "with blanks in it": "gpu", "": None}
    assert await scripts.offer_graphs(any_redis, ["a"], graphs) == {
        "g": "a", "with blanks in it": "gpu", "": "a",
    }  # fmt: skip
    assert await scripts.offer_graphs(any_redis, ["b", "default"], {"": None}) == {"": "default"}
    assert (await any_redis.hgetall(keys.routes())) == {  # type: ignore[misc]
        b"g": b"a", b"with blanks in it": b"gpu", b"": b"default",
    }  # fmt: skip


async def test_fifty_workers_of_two_fleets_agree(any_redis: Client) -> None:
    chosen = await asyncio.gather(
        *(offer(any_redis, OTHERS[number % 2]) for number in range(CONTENDERS))
    )
    assert set(chosen) == {chosen[0]}
    again = await asyncio.gather(
        *(offer(any_redis, OTHERS[number % 2]) for number in range(CONTENDERS))
    )
    assert set(again) == {chosen[0]}


async def test_a_stale_worker_takes_nothing_back(any_redis: Client) -> None:
    """Its report arrives after its queue has lost the graph."""
    await offer(any_redis, "a")
    await expire(any_redis, "a")
    assert await offer(any_redis, "b") == "b"
    late = await asyncio.gather(*(offer(any_redis, "a") for _ in range(CONTENDERS)))
    assert set(late) == {"b"}


async def test_an_unreadable_offer_is_deleted(any_redis: Client) -> None:
    await any_redis.hset(keys.offers(), mapping={"junk": "junk", "served a g": "1 x"})  # type: ignore[misc]
    assert await offer(any_redis, "b") == "b"
    assert await any_redis.hkeys(keys.offers()) == [b"served b g"]  # type: ignore[misc]


# ── The queue of a run ──────────────────────────────────────────────────────────────────────


async def queue_of_run(redis: Client, assistant_id: str) -> str:
    directory = GraphDirectory(redis)
    resolved = await directory.resolve(assistant_id)
    request = RunRequest(assistant_id=assistant_id)
    submitted = submission(request, resolved, Project(), run_id=new_id(), thread_id=new_id())
    return submitted.spec.queue


@pytest.fixture
async def announced(any_redis: Client) -> AsyncIterator[Client]:
    await announce(any_redis, [GraphInfo(graph_id="g", queue="default")])
    yield any_redis
    for assistant in await any_redis.zrange(keys.assistants(), 0, -1):
        await records.delete(any_redis, assistant.decode())


async def test_a_run_goes_to_the_queue_of_its_graph(announced: Client) -> None:
    assert await queue_of_run(announced, "g") == "default"  # announced by an earlier version
    await offer(announced, "a", declared="gpu")
    for name in ("g", default_assistant_id("g")):
        assert await queue_of_run(announced, name) == "gpu"


@pytest.mark.parametrize(
    ("metadata", "queue"),
    [
        (b'{"millstream_queue":"slow"}', "slow"),
        (b'{"millstream_queue":null}', "gpu"),
        (b'{"millstream_queue":"NOT A NAME"}', "gpu"),  # stored before names were checked
        (b'{"millstream_queue":7}', "gpu"),
        (b'{"other":"millstream_queue"}', "gpu"),
    ],
)
async def test_an_assistants_queue_goes_before_its_graphs(
    announced: Client, metadata: bytes, queue: str
) -> None:
    await offer(announced, "a", declared="gpu")
    assistant = Assistant(assistant_id=new_id(), graph_id="g", name="n", metadata=metadata)
    await records.create(announced, assistant)
    assert await queue_of_run(announced, assistant.assistant_id) == queue


async def test_crons_and_answers_go_to_the_queue_of_their_assistant(announced: Client) -> None:
    await offer(announced, "a", declared="gpu")
    metadata = b'{"millstream_queue":"default"}'
    assistant = Assistant(assistant_id=new_id(), graph_id="g", name="n", metadata=metadata)
    await records.create(announced, assistant)
    cron = await a_cron(announced, assistant_id=assistant.assistant_id)
    await make_due(announced, cron)
    assert await fire(announced) == {"admitted": 1}
    [run] = await fired(announced)
    assert run.spec.queue == "default"
    assert await announced.zcard(keys.queue("default")) == 1
    assert await end_pending(announced, run.spec) == "interrupted"

    request = continuation(run, command={"resume": 1}, metadata={})
    resolved = await GraphDirectory(announced).resolve(request.assistant_id)
    answer = submission(request, resolved, Project(), run_id=new_id(), thread_id=new_id())
    assert answer.spec.queue == "default"
    await crons.delete(announced, cron.cron.cron_id)
