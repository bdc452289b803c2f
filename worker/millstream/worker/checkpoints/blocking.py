"""The synchronous methods of a saver, for graphs that call it from threads of their own."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

Result = TypeVar("Result")


class BlockingCalls(BaseCheckpointSaver[str]):
    """Adds to each asynchronous method the synchronous one, which waits in its thread for the event loop.

    Create the object in the event loop that executes the calls. In that loop the synchronous methods raise
    RuntimeError, because they would wait for themselves.
    """

    def __init__(self, *, serde: SerializerProtocol | None = None) -> None:
        """`serde` replaces LangGraph's serializer."""
        super().__init__(serde=serde)
        self._loop = asyncio.get_running_loop()

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """`aget_tuple` from a thread other than the event loop's."""
        return self._wait_for(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """`alist` from a thread other than the event loop's; reads the whole list before the first result."""

        async def collect() -> Sequence[CheckpointTuple]:
            return [t async for t in self.alist(config, filter=filter, before=before, limit=limit)]

        yield from self._wait_for(collect())

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """`aput` from a thread other than the event loop's."""
        return self._wait_for(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """`aput_writes` from a thread other than the event loop's."""
        self._wait_for(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """`adelete_thread` from a thread other than the event loop's."""
        self._wait_for(self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """`adelete_for_runs` from a thread other than the event loop's."""
        self._wait_for(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """`acopy_thread` from a thread other than the event loop's."""
        self._wait_for(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """`aprune` from a thread other than the event loop's."""
        self._wait_for(self.aprune(thread_ids, strategy=strategy))

    def _wait_for(self, operation: Coroutine[Any, Any, Result]) -> Result:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(operation, self._loop).result()
        operation.close()
        raise RuntimeError(
            f"A synchronous checkpoint call would block the event loop {running!r}: use the "
            "asynchronous methods of the graph (ainvoke, aget_state, …)."
        )
