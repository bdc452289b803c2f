"""A saver that holds its writes in memory, until one script stores all of them or none. Its reads include them.

An update of a thread's state has several writes: a node's writes, then a checkpoint; with supersteps many of both. If
each were stored at once, a worker that dies would leave half of an update.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

from millstream.shared.scripts.checkpoints.get_checkpoint import StoredCheckpoint
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.scripts.checkpoints.put_checkpoint import pack_references
from millstream.shared.scripts.threads.store_state import StagedNamespace
from millstream.shared.wire import unpack_list
from millstream.worker.checkpoints.saver import FencedSaver


class StagedSaver(FencedSaver):
    """Reads the checkpoints in Redis and those in memory."""

    staged: dict[CheckpointNamespace, StagedNamespace]  # in the order of the writes
    _values: dict[CheckpointNamespace, dict[bytes, bytes]]
    """Values read from Redis: new checkpoints refer to them."""

    @classmethod
    def copy_of(cls, saver: FencedSaver) -> Self:
        """Returns a staged saver with the connection and serializer of `saver`, under no lease."""
        copied = cls.__new__(cls)
        copied.__dict__.update(saver.__dict__)
        copied._claim = copied._guard = None
        copied.staged = {}
        copied._values = {}
        return copied

    async def _read(
        self, namespace: CheckpointNamespace, checkpoint_id: str
    ) -> StoredCheckpoint | None:
        staged = self.staged.get(namespace, StagedNamespace())
        stored = None
        if checkpoint_id not in staged.checkpoints:
            stored = await super()._read(namespace, checkpoint_id)
            if stored is not None:
                self._values.setdefault(namespace, {}).update(stored.values)
        newest = max(staged.checkpoints, default="")
        if checkpoint_id in staged.checkpoints or (
            not checkpoint_id and newest > (stored.checkpoint_id if stored else "")
        ):
            return self._read_staged(namespace, staged, checkpoint_id or newest)
        if stored is None:
            return None
        return replace(stored, writes=stored.writes + staged.writes.get(stored.checkpoint_id, b""))

    def _read_staged(
        self, namespace: CheckpointNamespace, staged: StagedNamespace, checkpoint_id: str
    ) -> StoredCheckpoint:
        record, references = staged.checkpoints[checkpoint_id]
        values = {**self._values.get(namespace, {}), **staged.values}
        _, parent_id, _, *fields = unpack_list(references)
        return StoredCheckpoint(
            checkpoint_id=checkpoint_id,
            parent_id=parent_id.decode(),
            record=record,
            writes=staged.writes.get(checkpoint_id, b""),
            values={field: values[field] for field in fields if field in values},
        )

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
        staged = self.staged.setdefault(namespace, StagedNamespace())
        references = pack_references(run_id, parent_id, fields, built)
        staged.checkpoints[checkpoint_id] = (record, references)
        staged.values.update(values)

    async def _store_writes(
        self, namespace: CheckpointNamespace, checkpoint_id: str, run_id: str, entries: bytes
    ) -> None:
        staged = self.staged.setdefault(namespace, StagedNamespace())
        staged.writes[checkpoint_id] = staged.writes.get(checkpoint_id, b"") + entries
