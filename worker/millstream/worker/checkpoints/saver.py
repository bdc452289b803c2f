"""The fenced saver: a thread's checkpoints on plain Redis, written under the lease of a run.

One round trip a write and one a read. Each version of a channel's value is stored once; a
checkpoint refers to the versions it holds. Values are LangGraph's own serialisation
(`JsonPlusSerializer`), so types come back as they were.
"""

import copy
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, Self, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import ERROR

from millstream.shared import scripts
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.redis import Client
from millstream.shared.redis.retry import retry_while_unavailable
from millstream.shared.scripts import Claim
from millstream.shared.scripts.checkpoints.get_checkpoint import StoredCheckpoint
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.threads import checkpoints
from millstream.shared.wire import pack_list
from millstream.worker.checkpoints.blocking import BlockingCalls
from millstream.worker.checkpoints.records import (
    MOST_BYTES,
    Record,
    Typed,
    Write,
    config_of,
    field_of,
    namespace_of,
    pack,
    prefix_of,
    read_metadata,
    read_tuple,
)
from millstream.worker.checkpoints.serializer import MessageSerializer
from millstream.worker.checkpoints.unstorable import (
    UnstorableError,
    Writer,
    too_large,
    unstorable,
)
from millstream.worker.failure import LONGEST
from millstream.worker.text import bounded, said

PAGE: Final = 20  # checkpoints read at once while listing
Result = TypeVar("Result")


class Guard(Protocol):
    """Whoever executes the run that a saver writes for."""

    def check(self) -> None:
        """Raises FencedError if the run is being given up."""

    def refuse(self, error: UnstorableError) -> None:
        """Has the run fail with the error: its graph would go on to its end and raise it then."""

    async def before_write(self) -> None:
        """Returns when a checkpoint may be stored; raises FencedError as `check` does."""


class FencedSaver(BlockingCalls):
    """LangGraph's checkpointer. `under(claim)` gives the one that a run writes through."""

    def __init__(
        self,
        redis: Client,
        *,
        serde: SerializerProtocol | None = None,
        observer: RunObserver = UNOBSERVED,
    ) -> None:
        """`serde` replaces Millstream's serializer."""
        super().__init__(serde=serde or MessageSerializer())
        self._redis = redis
        self._observer = observer
        self._claim: Claim | None = None
        self._guard: Guard | None = None
        # Checkpoints that could not be stored: one that comes after would refer to what is missing.
        self._gaps: dict[str, UnstorableError] = {}

    def under(self, claim: Claim, guard: Guard | None = None) -> Self:
        """Returns a saver whose writes are refused (FencedError) once the claim's lease is lost, or
        its guard says so."""
        bound = copy.copy(self)
        bound._claim = claim
        bound._guard = guard
        bound._gaps = {}
        return bound

    # ── Reading ─────────────────────────────────────────────────────────────────────────────

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Returns the checkpoint that the config names, or the newest of its namespace."""
        namespace = namespace_of(config)
        wanted = get_checkpoint_id(config) or ""
        stored = await self._persist(lambda: self._read(namespace, wanted))
        return None if stored is None else read_tuple(self.serde, namespace, stored)

    async def _read(self, namespace: CheckpointNamespace, wanted: str) -> StoredCheckpoint | None:
        """Returns the checkpoint of that id, or the newest for ''."""
        return await scripts.get_checkpoint(self._redis, namespace, wanted)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yields the checkpoints of a thread, newest first; without `checkpoint_ns` of all its
        namespaces, one after the other.

        Raises ValueError without a config: there is no list of all threads' checkpoints.
        """
        if config is None:
            raise ValueError("listing needs a config with a thread_id")
        left = limit
        if left is not None and left <= 0:
            return
        count = PAGE if left is None or filter else min(PAGE, left)
        for namespace in await self._places(config):
            async for stored in self._stored(namespace, config, before, count):
                if filter:
                    metadata = read_metadata(self.serde, stored)
                    if not all(metadata.get(k) == v for k, v in filter.items()):
                        continue
                yield read_tuple(self.serde, namespace, stored)
                if left is not None:
                    left -= 1
                    if left == 0:
                        return

    async def _places(self, config: RunnableConfig) -> list[CheckpointNamespace]:
        if config["configurable"].get("checkpoint_ns") is not None:
            return [namespace_of(config)]
        thread_id = str(config["configurable"]["thread_id"])
        return [
            CheckpointNamespace(thread_id, ns)
            for ns in await checkpoints.list_namespaces(self._redis, thread_id)
        ]

    async def _stored(
        self,
        namespace: CheckpointNamespace,
        config: RunnableConfig,
        before: RunnableConfig | None,
        count: int,
    ) -> AsyncIterator[StoredCheckpoint]:
        wanted = get_checkpoint_id(config)
        last = get_checkpoint_id(before) if before else None
        if wanted:
            if not last or wanted < last:
                stored = await scripts.get_checkpoint(self._redis, namespace, wanted)
                if stored is not None:
                    yield stored
            return
        position = last or None
        while True:
            page, position = await scripts.list_checkpoints(
                self._redis, namespace, before=position, count=count
            )
            for stored in page:
                yield stored
            if position is None:
                return

    # ── Writing ─────────────────────────────────────────────────────────────────────────────

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint and the values that are new in it; raises FencedError, UnstorableError."""
        namespace, dump = namespace_of(config), self.serde.dumps_typed
        parent_id, writer = get_checkpoint_id(config) or "", Writer(namespace=namespace.name)
        self._require(parent_id, before=checkpoint["id"])
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        metadata = get_checkpoint_metadata(config, metadata)
        record = Record(
            checkpoint=dump({k: v for k, v in checkpoint.items() if k != "channel_values"}),
            metadata=dump(metadata),
        )
        stored = {
            field_of(channel, version): pack(
                self._dumped(channel, values[channel], writer, checkpoint["id"])
            )
            for channel, version in new_versions.items()
            # A version that the checkpoint does not name could never be read.
            if channel in values and versions.get(channel) == version
        }
        await self._store(
            namespace,
            checkpoint["id"],
            parent_id=parent_id,
            run_id=self._run_id() or str(metadata.get("run_id") or ""),
            record=pack(record),
            fields=[field_of(channel, version) for channel, version in versions.items()],
            values=stored,
            built=[prefix_of(c) for c in metadata.get("counters_since_delta_snapshot") or ()],
        )
        return config_of(namespace, checkpoint["id"])

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Stores what a task wrote before the next checkpoint; raises FencedError, UnstorableError."""
        run_id, namespace = self._run_id(), namespace_of(config)
        checkpoint_id = config["configurable"]["checkpoint_id"]
        writer = Writer(task_path, namespace.name)
        self._require(checkpoint_id)
        entries = [
            Write(
                task_id=task_id,
                index=WRITES_IDX_MAP.get(channel, index),
                channel=channel,
                value=self._dumped(channel, value, writer),
                task_path=task_path,
            )
            for index, (channel, value) in enumerate(writes)
        ]
        if entries:
            framed = pack_list(word for entry in entries for word in (run_id.encode(), pack(entry)))
            if len(framed) > MOST_BYTES:
                raise self._refused(too_large(f"What {writer or 'a task'} wrote", len(framed)))
            await self._store_writes(namespace, checkpoint_id, run_id, framed)

    def _dumped(self, channel: str, value: Any, writer: Writer, checkpoint_id: str = "") -> Typed:
        """Returns the serialised value; raises UnstorableError, which then is the run's end, and that of
        the checkpoint which the value belongs to."""
        if channel == ERROR and isinstance(value, BaseException):
            value = bounded(said(repr, value), LONGEST)  # as the serializer does, which may raise
        try:
            typed = self.serde.dumps_typed(value)
        except Exception as reason:  # noqa: BLE001 - of a user's object, anything
            error = unstorable(channel, value, reason, self.serde.dumps_typed, writer)
        else:
            if len(typed[1]) <= MOST_BYTES:
                return typed
            around = f" ({writer})" if str(writer) else ""
            error = too_large(f"Channel {channel!r}{around}", len(typed[1]))
        if checkpoint_id:
            self._gaps[checkpoint_id] = error
        raise self._refused(error)

    def _require(self, checkpoint_id: str, *, before: str = "") -> None:
        """Raises the UnstorableError of a checkpoint that was not stored, and then that of `before` too."""
        error = self._gaps.get(checkpoint_id)
        if error is not None:
            if before:
                self._gaps[before] = error
            raise error

    def _refused(self, error: UnstorableError) -> UnstorableError:
        """Returns the error, of which the run is told."""
        if self._guard is not None:
            self._guard.refuse(error)
        return error

    async def _store(
        self,
        namespace: CheckpointNamespace,
        checkpoint_id: str,
        *,
        parent_id: str,
        run_id: str,
        record: bytes,
        fields: Sequence[bytes],
        values: Mapping[bytes, bytes],
        built: Sequence[bytes],
    ) -> None:
        write = partial(
            scripts.put_checkpoint,
            self._redis,
            namespace,
            self._claim,
            checkpoint_id=checkpoint_id,
            parent_id=parent_id,
            run_id=run_id,
            record=record,
            fields=fields,
            values=values,
            built=built,
        )
        begun = time.monotonic()
        await self._write(write)
        size = len(record) + sum(map(len, values.values()))
        self._observer.checkpoint_stored(size, time.monotonic() - begun)

    async def _store_writes(
        self, namespace: CheckpointNamespace, checkpoint_id: str, run_id: str, entries: bytes
    ) -> None:
        write = partial(
            scripts.put_writes,
            self._redis,
            namespace,
            self._claim,
            checkpoint_id=checkpoint_id,
            run_id=run_id,
            entries=entries,
        )
        await self._write(write)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Returns a version after `current`; two forks of a thread never share one."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    # ── Whole threads ───────────────────────────────────────────────────────────────────────

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes every checkpoint of the thread; raises FencedError."""
        await self._persist(
            lambda: checkpoints.delete_thread(self._redis, str(thread_id), self._claim)
        )

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes all that the runs stored, in whichever threads; raises FencedError."""
        ids = [str(run_id) for run_id in run_ids]
        await self._persist(lambda: checkpoints.delete_for_runs(self._redis, ids, self._claim))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies every checkpoint of a thread to another; raises FencedError."""
        source, target = str(source_thread_id), str(target_thread_id)
        await self._persist(
            lambda: checkpoints.copy_thread(self._redis, source, target, self._claim)
        )

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Deletes the threads' checkpoints (`delete`), or all but the newest (`keep_latest`).

        Raises:
            ValueError: another strategy.
            ConflictError: a run is active on a thread, and it is not this saver's own.
            FencedError: the lease is lost.
        """
        if strategy not in ("delete", "keep_latest"):
            raise ValueError(f"strategy is {strategy!r}: it must be 'delete' or 'keep_latest'")
        for thread_id in thread_ids:
            prune = partial(
                checkpoints.prune,
                self._redis,
                str(thread_id),
                keep_latest=strategy == "keep_latest",
                claim=self._claim,
            )
            await self._persist(prune)

    async def _write(self, call: Callable[[], Awaitable[None]]) -> None:
        if self._guard is not None:
            await self._guard.before_write()
        await self._persist(call)

    async def _persist(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Within a run, waits for a Redis that is away; who only asks, is told at once."""
        if self._claim is None:
            return await call()
        check = self._guard.check if self._guard is not None else None
        return await retry_while_unavailable(
            f"a checkpoint of {self._claim.job}", call, check=check
        )

    def _run_id(self) -> str:
        return self._claim.spec.run_id if self._claim is not None else ""
