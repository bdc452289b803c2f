"""Stores a checkpoint: see put_checkpoint.lua."""

from collections.abc import Iterable, Mapping

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace, fence_arguments
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.wire import pack_list

SCRIPT = Script("checkpoints/put_checkpoint")


def pack_references(
    run_id: str, parent_id: str, fields: Iterable[bytes], built: Iterable[bytes]
) -> bytes:
    """Returns the references of a checkpoint as a packed list; see `put_checkpoint` for the parameters."""
    return pack_list([run_id.encode(), parent_id.encode(), pack_list(built), *fields])


async def put_checkpoint(
    redis: Client,
    namespace: CheckpointNamespace,
    claim: Claim | None,
    *,
    checkpoint_id: str,
    parent_id: str,
    run_id: str,
    record: bytes,
    fields: Iterable[bytes],
    values: Mapping[bytes, bytes],
    built: Iterable[bytes] = (),
) -> None:
    """Writes the checkpoint and its new values in one step; a repeat changes nothing.

    Args:
        claim: of the run that writes; None for an update from outside of runs.
        parent_id: '' for none.
        run_id: the run that the checkpoint belongs to; '' for none.
        record: the checkpoint without its values, with its metadata (msgpack).
        fields: the field of each value that the checkpoint refers to.
        values: field → msgpack, for the values that are not stored yet.
        built: the field prefix of each channel whose value may have to be built from ancestors.

    Raises:
        FencedError: the caller lost the lease, or the run has ended.
    """
    thread, name = namespace.thread_id, namespace.name
    references = pack_references(run_id, parent_id, fields, built)
    written = await SCRIPT(
        redis,
        index=keys.checkpoint_index(thread, name),
        records=keys.checkpoint_records(thread, name),
        references=keys.checkpoint_references(thread, name),
        values=keys.checkpoint_values(thread, name),
        namespaces=keys.checkpoint_namespaces(thread),
        checkpoint_runs=keys.checkpoint_runs(thread),
        runs_with_checkpoints=keys.runs_with_checkpoints(),
        **fence_arguments(thread, claim),
        namespace=name,
        checkpoint_id=checkpoint_id,
        record=record,
        packed_refs=references,
        run_id=run_id,
        run_in_thread=keys.run_in_thread(run_id, thread),
        new_values=pairs(values),
    )
    if not written:
        raise FencedError(
            "the checkpoint was refused: another worker holds the run, or the run has ended"
        )
