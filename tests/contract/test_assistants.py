"""Records of assistants: concurrent changes, versions, and which graphs workers serve."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from contract.builders import dump, new_id
from harness.workers import report_worker
from millstream.shared import keys, scripts, workers
from millstream.shared.assistants import (
    UNSERVED_SECONDS,
    GraphDirectory,
    announce,
    default_assistant,
    default_assistant_id,
)
from millstream.shared.assistants import records as assistant_records
from millstream.shared.assistants.records import AssistantRecord
from millstream.shared.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.runs.submission import submission
from millstream.shared.wire import (
    UNMERGED,
    Assistant,
    GraphInfo,
    Project,
    RunConfig,
    RunRequest,
    WorkerRecord,
    unpack_kwargs,
)

CONTENDERS = 50


async def an_assistant(redis: Client, **fields: Any) -> AssistantRecord:
    assistant = Assistant(assistant_id=new_id(), **{"graph_id": "echo", "name": "first", **fields})
    await assistant_records.create(redis, assistant)
    return await read(redis, assistant.assistant_id)


async def read(redis: Client, assistant_id: str) -> AssistantRecord:
    [record] = await assistant_records.read(redis, [assistant_id])
    assert record is not None
    return record


async def directory(redis: Client, *graphs: str) -> GraphDirectory:
    infos = [GraphInfo(graph_id=graph, queue="default") for graph in graphs or ("echo",)]
    await announce(redis, infos)
    return GraphDirectory(redis)


async def test_one_of_fifty_creations_succeeds(any_redis: Client) -> None:
    chosen = new_id()
    tries = [
        scripts.create_assistant(
            any_redis, Assistant(assistant_id=chosen, graph_id="echo", name=str(number))
        )
        for number in range(CONTENDERS)
    ]
    results = await asyncio.gather(*tries)
    assert Counter(results) == {True: 1, False: CONTENDERS - 1}
    record = await read(any_redis, chosen)
    assert record.assistant.name == str(results.index(True))
    assert (record.version, record.revision) == (1, 0)
    with pytest.raises(ConflictError, match=chosen):
        await assistant_records.create(any_redis, record.assistant)
    await assistant_records.delete(any_redis, chosen)


async def test_one_of_fifty_updates_of_a_version_succeeds(any_redis: Client) -> None:
    record = await an_assistant(any_redis)

    def changed(number: int) -> Assistant:
        return msgspec.structs.replace(record.assistant, name=str(number))

    tries = [
        assistant_records.update(any_redis, record, changed(number)) for number in range(CONTENDERS)
    ]
    results = await asyncio.gather(*tries)
    assert Counter(results) == {True: 1, False: CONTENDERS - 1}
    after = await read(any_redis, record.assistant.assistant_id)
    assert (after.assistant.name, after.version) == (str(results.index(True)), 2)
    before = await dump(any_redis)
    assert not await assistant_records.update(any_redis, record, changed(99))  # it is stale
    assert await dump(any_redis) == before
    await assistant_records.delete(any_redis, record.assistant.assistant_id)
    assert not await assistant_records.update(any_redis, after, changed(99))
    assert await assistant_records.read_all(any_redis) == []


async def test_one_of_fifty_first_updates_of_a_default_assistant_succeeds(
    any_redis: Client,
) -> None:
    graphs = await directory(any_redis)
    first = (await graphs.resolve("echo")).record
    assert first.revision is None
    tries = [
        assistant_records.update(
            any_redis, first, msgspec.structs.replace(first.assistant, name=str(number))
        )
        for number in range(CONTENDERS)
    ]
    assert Counter(await asyncio.gather(*tries)) == {True: 1, False: CONTENDERS - 1}
    graphs.forget()
    [now] = await graphs.assistants()
    assert (now.version, now.created_at) == (2, first.created_at)
    assert (await graphs.resolve("echo")).record == now
    versions = await assistant_records.versions(any_redis, now.assistant.assistant_id)
    assert [(each.version, each.assistant) for each in versions][1] == (1, first.assistant)
    await assistant_records.delete(any_redis, now.assistant.assistant_id)


async def test_the_newest_versions_are_kept(
    any_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assistant_records, "VERSIONS", 3)
    record = await an_assistant(any_redis)
    chosen = record.assistant.assistant_id
    for number in range(2, 6):
        changed = msgspec.structs.replace(record.assistant, name=str(number))
        assert await assistant_records.update(any_redis, record, changed)
        record = await read(any_redis, chosen)
    versions = await assistant_records.versions(any_redis, chosen)
    assert [each.version for each in versions] == [5, 4, 3]
    await assistant_records.choose(any_redis, record, 3)
    record = await read(any_redis, chosen)
    assert (record.version, record.assistant.name) == (3, "3")
    for gone in (1, 2, 6):
        before = await dump(any_redis)
        with pytest.raises(NotFoundError, match=f"version {gone} "):
            await assistant_records.choose(any_redis, record, gone)
        assert await dump(any_redis) == before
    assert await assistant_records.update(any_redis, record, record.assistant)
    assert (await read(any_redis, chosen)).version == 6
    await assistant_records.delete(any_redis, chosen)


async def test_fifty_updates_and_choices_of_versions_stay_consistent(any_redis: Client) -> None:
    record = await an_assistant(any_redis)
    assert await assistant_records.update(any_redis, record, record.assistant)
    chosen = record.assistant.assistant_id
    record = await read(any_redis, chosen)
    changed = msgspec.structs.replace(record.assistant, name="changed")
    await asyncio.gather(
        *(assistant_records.choose(any_redis, record, 1 + n % 2) for n in range(CONTENDERS)),
        *(assistant_records.update(any_redis, record, changed) for _ in range(CONTENDERS)),
    )
    after = await read(any_redis, chosen)
    versions = {each.version: each for each in await assistant_records.versions(any_redis, chosen)}
    assert after.assistant == versions[after.version].assistant
    await assistant_records.delete(any_redis, chosen)


async def test_one_of_fifty_deletions_succeeds(any_redis: Client) -> None:
    chosen = (await an_assistant(any_redis)).assistant.assistant_id
    tries = [assistant_records.delete(any_redis, chosen) for _ in range(CONTENDERS)]
    assert Counter(await asyncio.gather(*tries)) == {True: 1, False: CONTENDERS - 1}
    assert await dump(any_redis) == {}


# ── Resolved ────────────────────────────────────────────────────────────────────────────────


async def test_an_assistant_is_resolved_by_id_or_graph(any_redis: Client) -> None:
    graphs = await directory(any_redis, "echo", "other")
    record = await an_assistant(any_redis, graph_id="other")
    for name in (record.assistant.assistant_id, record.assistant.assistant_id.upper()):
        resolved = await graphs.resolve(name)
        assert (resolved.record, resolved.graph.graph_id, resolved.served) == (
            record,
            "other",
            True,
        )
    for name in ("echo", default_assistant_id("echo")):
        assert (await graphs.resolve(name)).record == default_assistant((await graphs.all())[0])
    with pytest.raises(NotFoundError):
        await graphs.resolve(new_id())
    with pytest.raises(InvalidError, match="echo, other"):
        await graphs.resolve("nope")
    with pytest.raises(InvalidError, match=r"graph_id.*echo, other"):
        await graphs.graph(default_assistant_id("echo"))
    await assistant_records.delete(any_redis, record.assistant.assistant_id)


async def test_a_graph_not_served_for_long_is_removed(
    any_redis: Client,
) -> None:
    graphs = await directory(any_redis, "echo", "old")
    echo, old = keys.call_queue("echo"), keys.call_queue("old")

    async def served() -> tuple[bool, bool]:
        graphs.forget()
        return tuple([(await graphs.resolve(name)).served for name in ("echo", "old")])  # type: ignore[return-value]

    assert await served() == (True, True)  # no worker has announced them yet: their runs wait
    gone_at = await redis_time(any_redis) - UNSERVED_SECONDS - 5
    await any_redis.zadd(keys.workers(old), {"w1": gone_at})
    assert await served() == (True, True)  # no worker is live: a deploy, or an outage
    await report_worker(any_redis, "w2", "default", calls=[echo], ttl=30)
    assert await served() == (True, False)
    old_one = await graphs.resolve("old")
    with pytest.raises(UnavailableError, match=r"'old'.*not served"):
        submission(
            RunRequest(assistant_id="old"), old_one, Project(), run_id=new_id(), thread_id=new_id()
        )
    await report_worker(any_redis, "w1", calls=[old], ttl=30)
    assert await served() == (True, True)
    await workers.leave(any_redis, WorkerRecord(worker_id="w1"), [old])
    assert await served() == (True, True)  # just now: it may be restarting
    await any_redis.delete(keys.workers(echo), keys.workers(old))


# ── Merged ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("assistant_fields", "run_fields", "configurable", "context"),
    [
        ({"config": {"a": 1, "b": 1}}, {}, {"a": 1, "b": 1}, {"a": 1, "b": 1}),
        ({"context": {"a": 1}}, {"configurable": {"b": 2}}, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ({"config": {"a": 1}}, {"context": {"a": 2}}, {"a": 2}, {"a": 2}),
        (
            {"config": {"a": 1}, "context": {"c": 1}},
            {"configurable": {"a": 2}, "context": {"d": 2}},
            {"a": 2},
            {"c": 1, "d": 2},
        ),
        ({"config": {"__pregel_x": 1, "run_id": "x"}}, {}, {}, {}),
    ],
)
async def test_a_runs_fields_override_the_assistants(
    any_redis: Client, assistant_fields: Any, run_fields: Any, configurable: Any, context: Any
) -> None:
    config = {"tags": ["of assistant"], "recursion_limit": 7, "metadata": {"m": 1, "n": 1}}
    config |= {"max_concurrency": 4, "run_name": "of assistant"}
    config["configurable"] = assistant_fields.get("config", {})
    record = await an_assistant(
        any_redis,
        config=msgspec.json.encode(config),
        context=msgspec.json.encode(assistant_fields.get("context", {})),
        metadata=b'{"team":"a","deep":{"not":"fit"},"k":1}',
    )
    resolved = await (await directory(any_redis)).resolve(record.assistant.assistant_id)
    request = RunRequest(
        assistant_id="x",
        metadata={"k": 2},
        config=RunConfig(metadata={"n": 2}, configurable=run_fields.get("configurable", {})),
        context=run_fields.get("context", {}),
    )
    ids: dict[str, Any] = {"run_id": new_id(), "thread_id": new_id()}
    results = submission(request, resolved, Project(), **ids)
    ids_of_run = {"graph_id": "echo", "assistant_id": record.assistant.assistant_id}
    assert results.spec.assistant_id == record.assistant.assistant_id
    assert msgspec.json.decode(results.spec.metadata) == {"team": "a", "k": 2, **ids_of_run}
    kwargs = unpack_kwargs(results.spec.kwargs)
    assert kwargs.context == context
    assert kwargs.config == {
        "configurable": {**configurable, **ids, **ids_of_run},
        "metadata": {"m": 1, "n": 2, "team": "a", "k": 2, **ids_of_run},
        "tags": ["of assistant"],
        "recursion_limit": 7,
        "max_concurrency": 4,
        "run_name": "of assistant",
    }
    plain: dict[str, Any] = {
        "tags": [],
        "recursion_limit": 3,
        "max_concurrency": 0,
        "run_name": "of run",
    }
    over = RunRequest(assistant_id="x", config=RunConfig(**plain))
    results = submission(over, resolved, Project(), **ids)
    kwargs = unpack_kwargs(results.spec.kwargs)
    assert {name: kwargs.config[name] for name in UNMERGED} == plain
    await assistant_records.delete(any_redis, record.assistant.assistant_id)
