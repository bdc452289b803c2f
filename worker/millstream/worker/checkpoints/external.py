"""Checkpointers that are not Millstream's: the library's for Redis, or one of the user's own.

They know nothing of leases. What can be done without their help is: a write that has begun is not
broken off by a cancel, since half a checkpoint would lose its parent.
"""

import asyncio
import copy
import inspect
from collections.abc import (
    AsyncIterator,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from millstream.worker.checkpoints.unstorable import Writer, unstorable

Result = TypeVar("Result")


class ShieldedSaver(BaseCheckpointSaver[Any]):
    """Another saver, whose asynchronous writes end before a cancel goes on."""

    def __init__(self, inner: BaseCheckpointSaver[Any]) -> None:
        """`inner` is the saver that stores."""
        super().__init__(serde=inner.serde)
        self.inner = inner
        # LangGraph asks whether a saver takes the path; older savers don't.
        self._takes_path = "task_path" in inspect.signature(inner.aput_writes).parameters

    @property
    def config_specs(self) -> list[Any]:
        """Those of the saver within."""
        return self.inner.config_specs

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> "ShieldedSaver":
        """Returns the same around the saver's own copy."""
        inner = self.inner.with_allowlist(extra_allowlist)
        if inner is self.inner:
            return self
        clone = copy.copy(self)
        clone.inner, clone.serde = inner, inner.serde
        return clone

    def get_next_version(self, current: Any, channel: None) -> Any:
        """As the saver within counts."""
        return self.inner.get_next_version(current, channel)

    # ── Asynchronous ────────────────────────────────────────────────────────────────────────

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Reads through the saver within."""
        return await self.inner.aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Lists through the saver within."""
        async for found in self.inner.alist(config, filter=filter, before=before, limit=limit):
            yield found

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Reads through the saver within."""
        return await self.inner.aget_delta_channel_history(config=config, channels=channels)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Writes to its end, whoever cancels; raises UnstorableError."""
        with self._naming(config, checkpoint["channel_values"].items()):
            return await _to_its_end(self.inner.aput(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Writes to its end, whoever cancels; raises UnstorableError."""
        path = (task_path,) if self._takes_path else ()
        with self._naming(config, writes, task_path):
            await _to_its_end(self.inner.aput_writes(config, writes, task_id, *path))

    @contextmanager
    def _naming(
        self, config: RunnableConfig, values: Iterable[tuple[str, Any]], task_path: str = ""
    ) -> Iterator[None]:
        """Names the value, if it was one that the saver within could not serialise."""
        try:
            yield
        except Exception:
            writer = Writer(task_path, config["configurable"].get("checkpoint_ns") or "")
            for channel, value in values:
                try:
                    self.serde.dumps_typed(value)
                except Exception as reason:  # noqa: BLE001 - of a user's object, anything
                    dump = self.serde.dumps_typed
                    raise unstorable(channel, value, reason, dump, writer) from None
            raise

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes to its end, whoever cancels."""
        await _to_its_end(self.inner.adelete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes to its end, whoever cancels; NotImplementedError if the saver can't."""
        await _to_its_end(self.inner.adelete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies to its end, whoever cancels; NotImplementedError if the saver can't."""
        await _to_its_end(self.inner.acopy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Prunes to its end, whoever cancels; NotImplementedError if the saver can't."""
        await _to_its_end(self.inner.aprune(thread_ids, strategy=strategy))

    # ── Synchronous: a thread can't be cancelled ────────────────────────────────────────────

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Reads through the saver within."""
        return self.inner.get_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Lists through the saver within."""
        return self.inner.list(config, filter=filter, before=before, limit=limit)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Reads through the saver within."""
        return self.inner.get_delta_channel_history(config=config, channels=channels)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Writes through the saver within; raises UnstorableError."""
        with self._naming(config, checkpoint["channel_values"].items()):
            return self.inner.put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Writes through the saver within; raises UnstorableError."""
        path = (task_path,) if self._takes_path else ()
        with self._naming(config, writes, task_path):
            self.inner.put_writes(config, writes, task_id, *path)

    def delete_thread(self, thread_id: str) -> None:
        """Deletes through the saver within."""
        self.inner.delete_thread(thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes through the saver within."""
        self.inner.delete_for_runs(run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies through the saver within."""
        self.inner.copy_thread(source_thread_id, target_thread_id)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Prunes through the saver within."""
        self.inner.prune(thread_ids, strategy=strategy)


async def _to_its_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Awaits the work; a cancel waits for its end, and is then raised."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # collected, as nobody will ask for it
        raise
