"""Checkpointers that are not Millstream's: the library's for Redis, or the project's.

They know nothing of leases, so a stale worker's writes are not refused. But a cancel does not interrupt a write that
has begun: half a checkpoint would lose its parent.
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

from millstream.worker.checkpoints.unstorable import Writer, unstorable_error
from millstream.worker.private_entries import without as without_private

Result = TypeVar("Result")


class ShieldedSaver(BaseCheckpointSaver[Any]):
    """Wraps another saver. A cancel waits until an asynchronous write has ended."""

    def __init__(self, inner: BaseCheckpointSaver[Any]) -> None:
        """`inner` is the saver that stores."""
        super().__init__(serde=inner.serde)
        self.inner = inner
        # Older savers don't accept a task's path.
        self._takes_path = "task_path" in inspect.signature(inner.aput_writes).parameters

    @property
    def config_specs(self) -> list[Any]:
        """The inner saver's."""
        return self.inner.config_specs

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> "ShieldedSaver":
        """Returns a wrapper around the copy that the inner saver returns."""
        inner = self.inner.with_allowlist(extra_allowlist)
        if inner is self.inner:
            return self
        clone = copy.copy(self)
        clone.inner, clone.serde = inner, inner.serde
        return clone

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Returns the inner saver's next version."""
        return self.inner.get_next_version(current, channel)

    # ── Asynchronous ────────────────────────────────────────────────────────────────────────

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Reads through the inner saver."""
        return await self.inner.aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Lists through the inner saver."""
        async for checkpoint in self.inner.alist(config, filter=filter, before=before, limit=limit):
            yield checkpoint

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Reads through the inner saver."""
        return await self.inner.aget_delta_channel_history(config=config, channels=channels)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Writes; a cancel waits until the write has ended. Raises UnstorableError."""
        with self._name_unstorable(config, checkpoint["channel_values"].items()):
            return await _complete(
                self.inner.aput(without_private(config), checkpoint, metadata, new_versions)
            )

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Writes; a cancel waits until the write has ended. Raises UnstorableError."""
        path = (task_path,) if self._takes_path else ()
        with self._name_unstorable(config, writes, task_path):
            await _complete(self.inner.aput_writes(without_private(config), writes, task_id, *path))

    @contextmanager
    def _name_unstorable(
        self, config: RunnableConfig, values: Iterable[tuple[str, Any]], task_path: str = ""
    ) -> Iterator[None]:
        """Raises UnstorableError that names the value, if the inner saver failed to serialise one."""
        try:
            yield
        except Exception:
            writer = Writer(task_path, config["configurable"].get("checkpoint_ns") or "")
            for channel, value in values:
                try:
                    self.serde.dumps_typed(value)
                except Exception as reason:  # noqa: BLE001 - of the user's object
                    dump = self.serde.dumps_typed
                    raise unstorable_error(channel, value, reason, dump, writer) from None
            raise

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes; a cancel waits until the deletion has ended."""
        await _complete(self.inner.adelete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `adelete_thread`. Raises NotImplementedError if the inner saver can't."""
        await _complete(self.inner.adelete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `adelete_thread`. Raises NotImplementedError if the inner saver can't."""
        await _complete(self.inner.acopy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `adelete_thread`. Raises NotImplementedError if the inner saver can't."""
        await _complete(self.inner.aprune(thread_ids, strategy=strategy))

    # ── Synchronous: a thread can't be cancelled ────────────────────────────────────────────

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Reads through the inner saver."""
        return self.inner.get_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Lists through the inner saver."""
        return self.inner.list(config, filter=filter, before=before, limit=limit)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Reads through the inner saver."""
        return self.inner.get_delta_channel_history(config=config, channels=channels)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Writes through the inner saver; raises UnstorableError."""
        with self._name_unstorable(config, checkpoint["channel_values"].items()):
            return self.inner.put(without_private(config), checkpoint, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Writes through the inner saver; raises UnstorableError."""
        path = (task_path,) if self._takes_path else ()
        with self._name_unstorable(config, writes, task_path):
            self.inner.put_writes(without_private(config), writes, task_id, *path)

    def delete_thread(self, thread_id: str) -> None:
        """Deletes through the inner saver."""
        self.inner.delete_thread(thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes through the inner saver."""
        self.inner.delete_for_runs(run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies through the inner saver."""
        self.inner.copy_thread(source_thread_id, target_thread_id)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Prunes through the inner saver."""
        self.inner.prune(thread_ids, strategy=strategy)


async def _complete(operation: Coroutine[Any, Any, Result]) -> Result:
    """Awaits the operation. If it is cancelled, it raises CancelledError after the operation has ended."""
    task = asyncio.ensure_future(operation)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not log it as never retrieved
        raise
