"""The fenced saver agrees with LangGraph's in-memory saver for any sequence of operations.

`make property` tries 10,000 examples of each test; the suite tries fewer (CHECKPOINT_EXAMPLES).
"""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.redis import Client, connect
from millstream.worker.checkpoints.saver import FencedSaver
from worker.stored_types import VALUES, alike

EXAMPLES = int(os.environ.get("CHECKPOINT_EXAMPLES", "100"))
pytestmark = pytest.mark.timeout(120 + EXAMPLES)
tried = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

THREADS, SPACES, RUNS = ("t", "u|*: {x}"), ("", "child:1|deep:2"), ("r0", "r1", "r10")


class Bench:
    """A saver on an empty database, and its event loop."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.redis: Client = connect(url)
        self.fenced = self.runner.run(self._saver())

    async def _saver(self) -> FencedSaver:
        return FencedSaver(self.redis)

    def close(self) -> None:
        self.runner.run(self.redis.aclose())
        self.runner.close()


@pytest.fixture(scope="module")
def bench(redis_server: EmbeddedRedis) -> Iterator[Bench]:
    checkpoints = Bench(redis_server.url.rpartition("/")[0] + "/2")
    yield checkpoints
    checkpoints.close()


class Model(InMemorySaver):
    """LangGraph's in-memory saver, with the missing operations on whole threads."""

    def delete_for_runs(self, run_ids: Any) -> None:
        for thread, spaces in self.storage.items():
            for space, stored in spaces.items():
                for checkpoint_id in list(stored):
                    metadata = self.serde.loads_typed(stored[checkpoint_id][1])
                    if metadata.get("run_id") in run_ids:
                        self._forget(thread, space, checkpoint_id)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        source, target = source_thread_id, target_thread_id
        if source == target:
            return
        for space, stored in list(self.storage[source].items()):
            self.storage[target][space].update(stored)
        for (thread, space, checkpoint_id), written in list(self.writes.items()):
            if thread == source:
                self.writes[target, space, checkpoint_id] = dict(written)
        for (thread, space, channel, version), blob in list(self.blobs.items()):
            if thread == source:
                self.blobs[target, space, channel, version] = blob

    def prune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        for thread in thread_ids:
            for space, stored in self.storage[thread].items():
                retained = {max(stored)} if stored and strategy == "keep_latest" else set()
                for checkpoint_id in set(stored) - retained:
                    self._forget(thread, space, checkpoint_id)

    def _forget(self, thread: str, space: str, checkpoint_id: str) -> None:
        del self.storage[thread][space][checkpoint_id]
        self.writes.pop((thread, space, checkpoint_id), None)
        needed = {
            (thread, space, channel, version)
            for record, _, _ in self.storage[thread][space].values()
            for channel, version in self.serde.loads_typed(record)["channel_versions"].items()
        }
        for position in [p for p in self.blobs if p[:2] == (thread, space) and p not in needed]:
            del self.blobs[position]


def on(thread: str, space: str | None, checkpoint_id: str | None = None) -> RunnableConfig:
    configurable = {"thread_id": thread, "checkpoint_ns": space, "checkpoint_id": checkpoint_id}
    return {"configurable": {k: v for k, v in configurable.items() if v is not None}}


POSITIONS = st.tuples(st.sampled_from(THREADS), st.sampled_from(SPACES))
PICK = st.integers(0, 5)  # which of the newest checkpoints of a namespace
SMALL = st.one_of(
    st.integers(-9, 9), st.text("ab", max_size=5), st.lists(st.booleans(), max_size=3)
)
OPERATION = st.one_of(
    st.tuples(
        st.just("put"), POSITIONS, st.none() | PICK,
        st.dictionaries(st.sampled_from("abc"), st.none() | SMALL, max_size=3),
        st.sampled_from(RUNS), st.booleans(),
    ),
    st.tuples(
        st.just("writes"), POSITIONS, PICK,
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "__error__", "__interrupt__", "__resume__"]), SMALL
            ),
            min_size=1, max_size=3,
        ),
        st.sampled_from(["task-1", "task-2"]), st.sampled_from(["", "~1", "~2"]),
    ),
    st.tuples(st.just("get"), POSITIONS, st.none() | PICK),
    st.tuples(
        st.just("listing"), POSITIONS, st.booleans(), st.none() | PICK, st.none() | PICK,
        st.none() | st.sampled_from(RUNS), st.none() | st.integers(0, 4),
    ),
    st.tuples(st.just("delete"), st.sampled_from(THREADS)),
    st.tuples(st.just("runs"), st.lists(st.sampled_from(RUNS), max_size=2)),
    st.tuples(st.just("copy"), st.sampled_from(THREADS), st.sampled_from(THREADS)),
    st.tuples(
        st.just("prune"), st.lists(st.sampled_from(THREADS), max_size=2),
        st.sampled_from(["keep_latest", "keep_latest", "delete"]),
    ),
)  # fmt: skip


class Play:
    """One sequence of operations, applied to both savers."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.fenced, self.model = bench, bench.fenced, Model()
        self.count = 0
        self.checkpoints: dict[
            tuple[str, str], list[Any]
        ] = {}  # checkpoints by thread and namespace

    def _checkpoint_at(self, position: tuple[str, str], pick: int | None) -> Any:
        checkpoints = self.checkpoints.get(position, [])
        return (
            checkpoints[-1 - pick % len(checkpoints)] if checkpoints and pick is not None else None
        )

    async def put(self, position: Any, parent: Any, new: Any, run: str, late: bool) -> None:
        self.count += 1
        before = self._checkpoint_at(position, parent)
        versions = {c: f"{self.count:032}.{c}" for c in new}
        checkpoint = empty_checkpoint()
        # A late checkpoint has the lowest id.
        checkpoint["id"] = f"{0 if late else 1}{self.count:06}"
        checkpoint["channel_versions"] = {
            **(before["channel_versions"] if before else {}), **versions,
        }  # fmt: skip
        # A channel without a value has a version too.
        checkpoint["channel_values"] = {
            **(before["channel_values"] if before else {}),
            **{c: v for c, v in new.items() if v is not None},
        }
        checkpoint["channel_values"] = {
            c: v for c, v in checkpoint["channel_values"].items() if new.get(c, 0) is not None
        }
        self.checkpoints.setdefault(position, []).append(checkpoint)
        config = on(position[0], position[1], before["id"] if before else None)
        metadata: Any = {"source": "loop", "step": self.count, "parents": {}, "run_id": run}
        at = await self.fenced.aput(config, checkpoint, metadata, versions)  # type: ignore[arg-type]
        assert at == self.model.put(config, checkpoint, metadata, versions)  # type: ignore[arg-type]

    async def writes(self, position: Any, pick: int, writes: Any, task: str, path: str) -> None:
        at = self._checkpoint_at(position, pick)
        if at is None or at["id"] not in self.model.storage[position[0]][position[1]]:
            return
        config = on(position[0], position[1], at["id"])
        await self.fenced.aput_writes(config, writes, task, path)
        self.model.put_writes(config, writes, task, path)

    async def get(self, position: Any, pick: int | None) -> None:
        at = self._checkpoint_at(position, pick)
        config = on(position[0], position[1], at["id"] if at else None)
        assert await self.fenced.aget_tuple(config) == self.model.get_tuple(config)

    async def listing(
        self, position: Any, all_spaces: bool, pick: int | None, before: int | None,
        run: str | None, limit: int | None,
    ) -> None:  # fmt: skip
        one, last = self._checkpoint_at(position, pick), self._checkpoint_at(position, before)
        config = on(position[0], None if all_spaces else position[1], one["id"] if one else None)
        options: dict[str, Any] = {
            "before": on(position[0], position[1], last["id"]) if last else None,
            "filter": {"run_id": run, "source": "loop"} if run else None,
            "limit": None if all_spaces else limit,
        }
        listed = [t async for t in self.fenced.alist(config, **options)]
        expected = list(self.model.list(config, **options))
        if all_spaces:  # the order of namespaces is undefined
            expected.sort(key=lambda t: t.config["configurable"]["checkpoint_ns"])
        assert listed == expected

    async def delete(self, thread: str) -> None:
        await self.fenced.adelete_thread(thread)
        self.model.delete_thread(thread)

    async def runs(self, runs: Any) -> None:
        await self.fenced.adelete_for_runs(runs)
        self.model.delete_for_runs(runs)

    async def copy(self, source: str, target: str) -> None:
        await self.fenced.acopy_thread(source, target)
        self.model.copy_thread(source, target)
        for space in SPACES:
            if source != target and (source, space) in self.checkpoints:
                self.checkpoints.setdefault((target, space), []).extend(
                    self.checkpoints[source, space]
                )

    async def prune(self, threads: Any, strategy: str) -> None:
        await self.fenced.aprune(threads, strategy=strategy)
        self.model.prune(threads, strategy=strategy)

    async def everything(self, saver: Any) -> list[CheckpointTuple]:
        listed = []
        for thread in THREADS:
            for space in SPACES:
                listed += [t async for t in saver.alist(on(thread, space))]
        return listed

    async def execute(self, operations: Any) -> None:
        redis = self.bench.redis
        await redis.flushdb()
        for verb, *arguments in operations:
            await getattr(self, verb)(*arguments)
        stored = await self.everything(self.fenced)
        assert stored == await self.everything(self.model)
        for thread in THREADS:
            for space in SPACES:
                fields = await redis.hkeys(keys.checkpoint_values(thread, space))  # type: ignore[misc]
                assert len(fields) == len(
                    [b for b in self.model.blobs if self._is_retained(b, thread, space)]
                )
            await self.fenced.adelete_thread(thread)
        assert await redis.dbsize() == 0

    def _is_retained(self, position: Any, thread: str, space: str) -> bool:
        return position[:2] == (thread, space) and self.model.blobs[position][0] != "empty"


@tried
@given(operations=st.lists(OPERATION, max_size=16))
def test_any_sequence_of_operations_agrees_with_the_in_memory_saver(
    bench: Bench, operations: Any
) -> None:
    bench.runner.run(Play(bench).execute(operations))


@tried
@given(value=VALUES)
def test_every_type_is_loaded_as_by_the_in_memory_saver(bench: Bench, value: Any) -> None:
    async def there_and_back() -> None:
        await bench.redis.flushdb()
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"], checkpoint["channel_versions"] = {"v": value}, {"v": "1.0"}
        listed = []
        for saver in (bench.fenced, InMemorySaver()):
            at = await saver.aput(
                on("t", ""), checkpoint, {"source": "loop", "step": 1, "parents": {}}, {"v": "1.0"}
            )
            await saver.aput_writes(at, [("v", value), ("__interrupt__", value)], "task")
            stored = await saver.aget_tuple(at)
            assert stored is not None
            assert stored.pending_writes is not None
            listed.append(
                (stored.checkpoint["channel_values"]["v"], *(w[2] for w in stored.pending_writes))
            )
        dump = bench.fenced.serde.dumps_typed
        for ours, theirs in zip(*listed, strict=True):
            assert alike(ours, theirs, dump), (ours, theirs)

    bench.runner.run(there_and_back())
