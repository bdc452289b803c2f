"""The fenced saver: stores a thread's checkpoints on plain Redis, under the lease of a run.

Each read and each write is one round trip. Each version of a channel's value is stored once, and checkpoints refer to
it. LangGraph's own serialisation (`JsonPlusSerializer`) keeps the types of values.
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
    MAX_VALUE_BYTES,
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
from millstream.worker.checkpoints.reports import SaverReports
from millstream.worker.checkpoints.serializer import MessageSerializer
from millstream.worker.checkpoints.unstorable import (
    UnstorableError,
    Writer,
    too_large_error,
    unstorable_error,
)
from millstream.worker.failure import MAX_MESSAGE_CHARS
from millstream.worker.private_entries import without as without_private
from millstream.worker.safe_text import convert_safely, truncate

PAGE: Final = 20  # checkpoints per read of a list
Result = TypeVar("Result")


class Guard(Protocol):
    """The execution of the run for which a saver writes."""

    def check(self) -> None:
        """Raises FencedError if the worker gives up the run."""

    def refuse(self, error: UnstorableError) -> None:
        """Ends the run with the error. Without it the graph would raise the error only at its own end."""

    async def before_write(self) -> None:
        """Waits until a checkpoint may be stored; raises FencedError as `check` does."""


class FencedSaver(BlockingCalls):
    """LangGraph's checkpointer. `bind(claim)` returns the saver of one run."""

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
        self._reports = SaverReports(observer)
        self._claim: Claim | None = None
        self._guard: Guard | None = None
        # Checkpoints that could not be stored. A later checkpoint would refer to their missing values.
        self._unstored: dict[str, UnstorableError] = {}

    def bind(self, claim: Claim, guard: Guard | None = None) -> Self:
        """Returns a saver whose writes raise FencedError once the claim's lease is lost or the guard raises it."""
        bound = copy.copy(self)
        bound._claim = claim
        bound._guard = guard
        bound._unstored = {}
        bound._reports = self._reports.of_run(claim.spec.graph_id)
        return bound

    # ── Reading ─────────────────────────────────────────────────────────────────────────────

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Returns the checkpoint that the config names, or the newest of its namespace."""
        namespace = namespace_of(config)
        checkpoint_id = get_checkpoint_id(config) or ""
        stored = await self._retry_in_run(lambda: self._read(namespace, checkpoint_id))
        return None if stored is None else read_tuple(self.serde, namespace, stored)

    async def _read(
        self, namespace: CheckpointNamespace, checkpoint_id: str
    ) -> StoredCheckpoint | None:
        """Returns the checkpoint with the id; for '' the newest one."""
        return await scripts.get_checkpoint(self._redis, namespace, checkpoint_id)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yields a namespace's checkpoints, newest first. Without `checkpoint_ns` it lists all of a thread's
        namespaces, one after the other.

        Raises ValueError without a config: no list has the checkpoints of all threads.
        """
        if config is None:
            raise ValueError("listing needs a config with a thread_id")
        remaining = limit
        if remaining is not None and remaining <= 0:
            return
        page_size = PAGE if remaining is None or filter else min(PAGE, remaining)
        for namespace in await self._namespaces_of(config):
            async for stored in self._list_stored(namespace, config, before, page_size):
                if filter:
                    metadata = read_metadata(self.serde, stored)
                    if not all(metadata.get(k) == v for k, v in filter.items()):
                        continue
                yield read_tuple(self.serde, namespace, stored)
                if remaining is not None:
                    remaining -= 1
                    if remaining == 0:
                        return

    async def _namespaces_of(self, config: RunnableConfig) -> list[CheckpointNamespace]:
        if config["configurable"].get("checkpoint_ns") is not None:
            return [namespace_of(config)]
        thread_id = str(config["configurable"]["thread_id"])
        return [
            CheckpointNamespace(thread_id, ns)
            for ns in await checkpoints.list_namespaces(self._redis, thread_id)
        ]

    async def _list_stored(
        self,
        namespace: CheckpointNamespace,
        config: RunnableConfig,
        before: RunnableConfig | None,
        page_size: int,
    ) -> AsyncIterator[StoredCheckpoint]:
        checkpoint_id = get_checkpoint_id(config)
        end = get_checkpoint_id(before) if before else None
        if checkpoint_id:
            if not end or checkpoint_id < end:
                stored = await scripts.get_checkpoint(self._redis, namespace, checkpoint_id)
                if stored is not None:
                    yield stored
            return
        position = end or None
        while True:
            page, position = await scripts.list_checkpoints(
                self._redis, namespace, before=position, count=page_size
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
        """Stores a checkpoint and its new values; raises FencedError, UnstorableError."""
        namespace, dump = namespace_of(config), self.serde.dumps_typed
        self._reports.begins(namespace)
        parent_id, writer = get_checkpoint_id(config) or "", Writer(namespace=namespace.name)
        self._require_stored(parent_id, child_id=checkpoint["id"])
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        metadata = get_checkpoint_metadata(without_private(config), metadata)
        record = Record(
            checkpoint=dump({k: v for k, v in checkpoint.items() if k != "channel_values"}),
            metadata=dump(metadata),
        )
        new_values = {
            field_of(channel, version): pack(
                self._serialise(channel, values[channel], writer, checkpoint["id"])
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
            values=new_values,
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
        """Stores a task's writes, which the next checkpoint will contain; raises FencedError, UnstorableError."""
        run_id, namespace = self._run_id(), namespace_of(config)
        checkpoint_id = config["configurable"]["checkpoint_id"]
        writer = Writer(task_path, namespace.name)
        self._require_stored(checkpoint_id)
        entries = [
            Write(
                task_id=task_id,
                index=WRITES_IDX_MAP.get(channel, index),
                channel=channel,
                value=self._serialise(channel, value, writer),
                task_path=task_path,
            )
            for index, (channel, value) in enumerate(writes)
        ]
        if entries:
            packed = pack_list(part for entry in entries for part in (run_id.encode(), pack(entry)))
            if len(packed) > MAX_VALUE_BYTES:
                error = too_large_error(f"The output of {writer or 'a task'}", len(packed))
                raise self._fail_run(error)
            await self._store_writes(namespace, checkpoint_id, run_id, packed)

    def _serialise(
        self, channel: str, value: Any, writer: Writer, checkpoint_id: str = ""
    ) -> Typed:
        """Returns the serialised value.

        Raises UnstorableError. The error also ends the run, and marks the checkpoint as unstored.
        """
        if channel == ERROR and isinstance(value, BaseException):
            # The serializer would call repr too, which may raise.
            value = truncate(convert_safely(repr, value), MAX_MESSAGE_CHARS)
        try:
            typed = self.serde.dumps_typed(value)
        except Exception as reason:  # noqa: BLE001 - of the user's object
            error = unstorable_error(channel, value, reason, self.serde.dumps_typed, writer)
        else:
            if len(typed[1]) <= MAX_VALUE_BYTES:
                return typed
            origin = f" ({writer})" if str(writer) else ""
            error = too_large_error(f"Channel {channel!r}{origin}", len(typed[1]))
        if checkpoint_id:
            self._unstored[checkpoint_id] = error
        raise self._fail_run(error)

    def _require_stored(self, checkpoint_id: str, *, child_id: str = "") -> None:
        """Raises the UnstorableError of a checkpoint that could not be stored, and marks its child as unstored."""
        error = self._unstored.get(checkpoint_id)
        if error is not None:
            if child_id:
                self._unstored[child_id] = error
            raise error

    def _fail_run(self, error: UnstorableError) -> UnstorableError:
        """Returns the error after the run's guard has received it."""
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
        self._reports.stored(size, begun)

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
        """Returns a version after `current`. Its random part differs between two forks of a thread."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    # ── Whole threads ───────────────────────────────────────────────────────────────────────

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes every checkpoint of the thread; raises FencedError."""
        await self._retry_in_run(
            lambda: checkpoints.delete_thread(self._redis, str(thread_id), self._claim)
        )

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints and writes of the runs in all threads; raises FencedError."""
        ids = [str(run_id) for run_id in run_ids]
        await self._retry_in_run(lambda: checkpoints.delete_for_runs(self._redis, ids, self._claim))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies every checkpoint of a thread to another; raises FencedError."""
        source, target = str(source_thread_id), str(target_thread_id)
        await self._retry_in_run(
            lambda: checkpoints.copy_thread(self._redis, source, target, self._claim)
        )

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Deletes the threads' checkpoints (`delete`), or all but the newest (`keep_latest`).

        Raises:
            ValueError: the strategy is another.
            ConflictError: a run is active on a thread, and it is not the run of this saver.
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
            await self._retry_in_run(prune)

    async def _write(self, call: Callable[[], Awaitable[None]]) -> None:
        if self._guard is not None:
            await self._guard.before_write()
        await self._retry_in_run(call)

    async def _retry_in_run(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Within a run, retries while Redis is unavailable. Outside of runs the caller gets the error at once."""
        if self._claim is None:
            return await call()
        check = self._guard.check if self._guard is not None else None
        return await retry_while_unavailable(
            f"a checkpoint of {self._claim.job}", lambda: self._reports.refused(call), check=check
        )

    def _run_id(self) -> str:
        return self._claim.spec.run_id if self._claim is not None else ""
