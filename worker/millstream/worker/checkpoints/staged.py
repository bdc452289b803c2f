"""A saver that stores nothing yet: what is written through it is kept aside, and seen by who reads
through it, until one script stores all of it or none.

An update of a thread's state is several writes (what a node wrote, then a checkpoint; with
supersteps many of both). Stored one by one, a worker that dies would leave half of them.
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
    """Reads what Redis holds and what was written through itself."""

    staged: dict[CheckpointNamespace, StagedNamespace]  # in the order of the writes

    @classmethod
    def over(cls, saver: FencedSaver) -> Self:
        """Returns one that reads through the connection of `saver`."""
        made = cls.__new__(cls)
        made.__dict__.update(saver.__dict__)
        made._claim = made._guard = None
        made.staged = {}
        made._values = {}
        return made

    _values: dict[
        CheckpointNamespace, dict[bytes, bytes]
    ]  # those that were read: new checkpoints refer to them

    async def _read(self, namespace: CheckpointNamespace, wanted: str) -> StoredCheckpoint | None:
        own = self.staged.get(namespace, StagedNamespace())
        found = None
        if wanted not in own.checkpoints:
            found = await super()._read(namespace, wanted)
            if found is not None:
                self._values.setdefault(namespace, {}).update(found.values)
        newest = max(own.checkpoints, default="")
        if wanted in own.checkpoints or (
            not wanted and newest > (found.checkpoint_id if found else "")
        ):
            return self._own(namespace, own, wanted or newest)
        if found is None:
            return None
        return replace(found, writes=found.writes + own.writes.get(found.checkpoint_id, b""))

    def _own(
        self, namespace: CheckpointNamespace, own: StagedNamespace, checkpoint_id: str
    ) -> StoredCheckpoint:
        record, references = own.checkpoints[checkpoint_id]
        known = {**self._values.get(namespace, {}), **own.values}
        _, parent_id, _, *fields = unpack_list(references)
        return StoredCheckpoint(
            checkpoint_id=checkpoint_id,
            parent_id=parent_id.decode(),
            record=record,
            writes=own.writes.get(checkpoint_id, b""),
            values={field: known[field] for field in fields if field in known},
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
        own = self.staged.setdefault(namespace, StagedNamespace())
        references = pack_references(run_id, parent_id, fields, built)
        own.checkpoints[checkpoint_id] = (record, references)
        own.values.update(values)

    async def _store_writes(
        self, namespace: CheckpointNamespace, checkpoint_id: str, run_id: str, entries: bytes
    ) -> None:
        own = self.staged.setdefault(namespace, StagedNamespace())
        own.writes[checkpoint_id] = own.writes.get(checkpoint_id, b"") + entries
