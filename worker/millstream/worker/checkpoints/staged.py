"""A saver that stores nothing yet: what is written through it is kept aside, and seen by who reads
through it, until one script stores all of it or none.

An update of a thread's state is several writes (what a node wrote, then a checkpoint; with
supersteps many of both). Stored one by one, a worker that dies would leave half of them.
"""

from collections.abc import Mapping
from typing import Self

from millstream.shared.scripts.get_checkpoint import StoredCheckpoint
from millstream.shared.scripts.put_checkpoint import Place
from millstream.shared.scripts.store_state import StagedNamespace
from millstream.shared.wire import unframe
from millstream.worker.checkpoints.saver import FencedSaver


class StagedSaver(FencedSaver):
    """Reads what Redis holds and what was written through itself."""

    staged: dict[Place, StagedNamespace]  # in the order of the writes

    @classmethod
    def over(cls, saver: FencedSaver) -> Self:
        """Returns one that reads through the connection of `saver`."""
        made = cls.__new__(cls)
        made.__dict__.update(saver.__dict__)
        made.staged = {}
        made._values = {}
        return made

    _values: dict[Place, dict[bytes, bytes]]  # those that were read: new checkpoints refer to them

    async def _read(self, place: Place, wanted: str) -> StoredCheckpoint | None:
        own = self.staged.get(place, StagedNamespace())
        found = None
        if wanted not in own.checkpoints:
            found = await super()._read(place, wanted)
            if found is not None:
                self._values.setdefault(place, {}).update(found.values)
        newest = max(own.checkpoints, default="")
        if wanted in own.checkpoints or (
            not wanted and newest > (found.checkpoint_id if found else "")
        ):
            return self._own(place, own, wanted or newest)
        if found is None:
            return None
        writes = found.writes + own.writes.get(found.checkpoint_id, b"")
        return StoredCheckpoint(found.checkpoint_id, found.record, writes, found.values)

    def _own(self, place: Place, own: StagedNamespace, checkpoint_id: str) -> StoredCheckpoint:
        record, references = own.checkpoints[checkpoint_id]
        known = {**self._values.get(place, {}), **own.values}
        _, *fields = unframe(references)
        values = {field: known[field] for field in fields if field in known}
        return StoredCheckpoint(checkpoint_id, record, own.writes.get(checkpoint_id, b""), values)

    async def _store(
        self,
        place: Place,
        checkpoint_id: str,
        record: bytes,
        references: bytes,
        values: Mapping[bytes, bytes],
    ) -> None:
        own = self.staged.setdefault(place, StagedNamespace())
        own.checkpoints[checkpoint_id] = (record, references)
        own.values.update(values)

    async def _store_writes(self, place: Place, checkpoint_id: str, entries: bytes) -> None:
        own = self.staged.setdefault(place, StagedNamespace())
        own.writes[checkpoint_id] = own.writes.get(checkpoint_id, b"") + entries
