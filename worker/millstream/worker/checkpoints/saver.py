"""The fenced saver: a thread's checkpoints on plain Redis, written under the lease of a run.

One round trip a write and one a read. Each version of a channel's value is stored once; a
checkpoint refers to the versions it holds. Values are LangGraph's own serialisation
(`JsonPlusSerializer`), so types come back as they were.
"""

import asyncio
import random
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from functools import partial
from typing import Any, Final, Self, TypeVar

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from millstream.shared import checkpoints, scripts
from millstream.shared.redis import Client
from millstream.shared.scripts import Claim
from millstream.shared.scripts.get_checkpoint import StoredCheckpoint
from millstream.shared.scripts.put_checkpoint import Place
from millstream.shared.wire import frame, unframe
from millstream.worker.patience import patiently

PAGE: Final = 50  # checkpoints read at once while listing
MOST_BYTES: Final = 256 * 1024 * 1024  # of one value; Redis takes no word over 512 MB
NUL: Final = b"\0"
Result = TypeVar("Result")
Typed = tuple[str, bytes]  # what a serializer makes of a value

pack = msgspec.msgpack.Encoder().encode


class _Record(msgspec.Struct, array_like=True):
    """A checkpoint without its channel values."""

    checkpoint: Typed
    metadata: Typed
    parent_id: str | None


class _Write(msgspec.Struct, array_like=True):
    """One pending write."""

    task_id: str
    index: int
    channel: str
    value: Typed
    task_path: str


_record = msgspec.msgpack.Decoder(_Record)
_write = msgspec.msgpack.Decoder(_Write)
_typed = msgspec.msgpack.Decoder(Typed)


class FencedSaver(BaseCheckpointSaver[str]):
    """LangGraph's checkpointer. `under(claim)` gives the one that a run writes through."""

    def __init__(self, redis: Client, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self._redis = redis
        self._claim: Claim | None = None
        self._loop = asyncio.get_running_loop()

    def under(self, claim: Claim) -> Self:
        """Returns a saver whose writes are refused (FencedError) once the claim's lease is lost."""
        bound = self.__class__.__new__(self.__class__)
        bound.__dict__.update(self.__dict__)
        bound._claim = claim
        return bound

    # ── Reading ─────────────────────────────────────────────────────────────────────────────

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Returns the checkpoint that the config names, or the newest of its namespace."""
        place = _place(config)
        wanted = get_checkpoint_id(config) or ""
        stored = await self._persist(lambda: self._read(place, wanted))
        return None if stored is None else self._tuple(place, stored)

    async def _read(self, place: Place, wanted: str) -> StoredCheckpoint | None:
        """Returns the checkpoint of that id, or the newest for ''."""
        return await scripts.get_checkpoint(self._redis, place, wanted)

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
        for place in await self._places(config):
            async for found in self._list_namespace(place, config, before):
                if left is not None and left <= 0:
                    return
                if filter and not all(found.metadata.get(k) == v for k, v in filter.items()):
                    continue
                if left is not None:
                    left -= 1
                yield found

    async def _places(self, config: RunnableConfig) -> list[Place]:
        if config["configurable"].get("checkpoint_ns") is not None:
            return [_place(config)]
        thread_id = str(config["configurable"]["thread_id"])
        return [Place(thread_id, ns) for ns in await checkpoints.namespaces(self._redis, thread_id)]

    async def _list_namespace(
        self, place: Place, config: RunnableConfig, before: RunnableConfig | None
    ) -> AsyncIterator[CheckpointTuple]:
        wanted = get_checkpoint_id(config)
        last = get_checkpoint_id(before) if before else None
        while True:
            if wanted is not None:
                ids = [wanted] if last is None or wanted < last else []
            else:
                ids = await checkpoints.newest_ids(self._redis, place, before=last, limit=PAGE)
            for checkpoint_id in ids:
                stored = await scripts.get_checkpoint(self._redis, place, checkpoint_id)
                if stored is not None:
                    yield self._tuple(place, stored)
            if wanted is not None or len(ids) < PAGE:
                return
            last = ids[-1]

    def _tuple(self, place: Place, stored: StoredCheckpoint) -> CheckpointTuple:
        load = self.serde.loads_typed
        record = _record.decode(stored.record)
        values = {}
        for field, value in stored.values.items():
            channel, _, _ = field.rpartition(b"\0")
            values[channel.decode()] = load(_typed.decode(value))
        checkpoint: Checkpoint = {**load(record.checkpoint), "channel_values": values}  # type: ignore[typeddict-item]
        return CheckpointTuple(
            config=_config(place, stored.checkpoint_id),
            checkpoint=checkpoint,
            metadata=load(record.metadata),
            parent_config=_config(place, record.parent_id) if record.parent_id else None,
            pending_writes=self._pending(stored.writes),
        )

    def _pending(self, framed: bytes) -> list[PendingWrite]:
        """Returns the writes in the order in which LangGraph applies them.

        A task's ordinary write is kept when it is stored again; its special ones (error,
        interrupt, resume) are replaced.
        """
        kept: dict[tuple[str, int], _Write] = {}
        for packed in unframe(framed)[1::2]:  # each behind its run's id
            write = _write.decode(packed)
            place = (write.task_id, write.index)
            if write.index < 0 or place not in kept:
                kept[place] = write
        ordered = sorted(
            kept.values(), key=lambda w: writes_sort_key(w.task_path, w.task_id, w.index)
        )
        return [(w.task_id, w.channel, self.serde.loads_typed(w.value)) for w in ordered]

    # ── Writing ─────────────────────────────────────────────────────────────────────────────

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint and the values that are new in it; raises FencedError."""
        place, dump = _place(config), self.serde.dumps_typed
        values = checkpoint["channel_values"]
        record = _Record(
            checkpoint=dump({k: v for k, v in checkpoint.items() if k != "channel_values"}),
            metadata=dump(get_checkpoint_metadata(config, metadata)),
            parent_id=get_checkpoint_id(config),
        )
        references = [self._run_id().encode()]
        references += [_field(c, v) for c, v in checkpoint["channel_versions"].items()]
        stored = {
            _field(channel, version): pack(dump(values[channel]))
            for channel, version in new_versions.items()
            if channel in values
        }
        for name, value in stored.items():
            _fits(f"channel {name.partition(NUL)[0].decode()!r}", value)
        await self._store(place, checkpoint["id"], pack(record), frame(references), stored)
        return _config(place, checkpoint["id"])

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Stores what a task wrote before the next checkpoint; raises FencedError."""
        run_id = self._run_id().encode()
        entries = [
            _Write(
                task_id=task_id,
                index=WRITES_IDX_MAP.get(channel, index),
                channel=channel,
                value=self.serde.dumps_typed(value),
                task_path=task_path,
            )
            for index, (channel, value) in enumerate(writes)
        ]
        if entries:
            framed = frame(word for entry in entries for word in (run_id, pack(entry)))
            _fits(f"what task {task_id} wrote", framed)
            await self._store_writes(
                _place(config), config["configurable"]["checkpoint_id"], framed
            )

    async def _store(
        self,
        place: Place,
        checkpoint_id: str,
        record: bytes,
        references: bytes,
        values: Mapping[bytes, bytes],
    ) -> None:
        write = partial(
            scripts.put_checkpoint,
            self._redis,
            place,
            self._claim,
            checkpoint_id=checkpoint_id,
            record=record,
            references=references,
            values=values,
        )
        await self._persist(write)

    async def _store_writes(self, place: Place, checkpoint_id: str, entries: bytes) -> None:
        write = partial(
            scripts.put_writes,
            self._redis,
            place,
            self._claim,
            checkpoint_id=checkpoint_id,
            entries=entries,
        )
        await self._persist(write)

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes every checkpoint of the thread."""
        await checkpoints.delete_thread(self._redis, thread_id)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Returns a version after `current`; two forks of a thread never share one."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    async def _persist(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Within a run, waits for a Redis that is away; who only asks, is told at once."""
        if self._claim is None:
            return await call()
        return await patiently(f"a checkpoint of {self._claim.job}", call)

    def _run_id(self) -> str:
        return self._claim.spec.run_id if self._claim is not None else ""

    # ── For graphs that run in threads ──────────────────────────────────────────────────────

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """`aget_tuple` from a thread other than the event loop's."""
        return self._blocking(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """`alist` from a thread other than the event loop's; read as a whole."""

        async def collect() -> Sequence[CheckpointTuple]:
            return [t async for t in self.alist(config, filter=filter, before=before, limit=limit)]

        yield from self._blocking(collect())

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """`aput` from a thread other than the event loop's."""
        return self._blocking(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """`aput_writes` from a thread other than the event loop's."""
        self._blocking(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """`adelete_thread` from a thread other than the event loop's."""
        self._blocking(self.adelete_thread(thread_id))

    def _blocking(self, work: Coroutine[Any, Any, Result]) -> Result:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        work.close()
        raise RuntimeError(
            f"A synchronous checkpoint call would block the event loop {running!r}: use the "
            "asynchronous methods of the graph (ainvoke, aget_state, …)."
        )


def _fits(what: str, value: bytes) -> None:
    """Raises ValueError for what Redis could not keep, however often it is sent."""
    if len(value) > MOST_BYTES:
        raise ValueError(
            f"{what} takes {len(value)} bytes in the checkpoint, and {MOST_BYTES} is the most: "
            "keep large things elsewhere, and their address in the state"
        )


def _place(config: RunnableConfig) -> Place:
    configurable = config["configurable"]
    return Place(str(configurable["thread_id"]), configurable.get("checkpoint_ns") or "")


def _config(place: Place, checkpoint_id: str) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": place.thread_id,
            "checkpoint_ns": place.namespace,
            "checkpoint_id": checkpoint_id,
        }
    }


def _field(channel: str, version: object) -> bytes:
    """Returns where a version of a channel's value is stored."""
    return f"{channel}\0{version}".encode()
