"""Copies a thread with its state: see copy_thread.lua."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from millstream.shared import keys
from millstream.shared.errors import RightsChangedError
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import namespace_keys_of
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.scripts.threads.thread_index import thread_index_keys
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.fields import THREAD_FIELDS, open_thread_field, seal_thread
from millstream.shared.wire import SEALED

SCRIPT = Script("threads/copy_thread")
Reply = Literal["copied", "missing", "busy", "changed"]


async def copy_thread(
    redis: Client,
    source_id: str,
    target_id: str,
    namespaces: Sequence[str],
    *,
    metadata: bytes = b"",
    fields: Mapping[str, Any] | None = None,
) -> Reply:
    """Creates the target from a source that has these namespaces; returns the script's status.

    Args:
        metadata: of the source (JSON), from which `fields` was computed; b"" without fields.
        fields: of the target's record, in place of the source's.

    Raises:
        RightsChangedError: the source has other metadata; nothing was changed.
        SealedError: no key opens a field of the source.
    """
    key_pairs = zip(
        namespace_keys_of(source_id, namespaces),
        namespace_keys_of(target_id, namespaces),
        strict=True,
    )
    reply = await SCRIPT(
        redis,
        source=keys.thread(source_id),
        thread=keys.thread(target_id),
        expiring=keys.expiring(),
        namespaces=keys.checkpoint_namespaces(source_id),
        target_namespaces=keys.checkpoint_namespaces(target_id),
        checkpoint_runs=keys.checkpoint_runs(source_id),
        target_checkpoint_runs=keys.checkpoint_runs(target_id),
        runs_with_checkpoints=keys.runs_with_checkpoints(),
        namespace_keys=[key for pair in key_pairs for key in pair],
        thread_id=target_id,
        resealed=await _reseal(redis, source_id, target_id),
        namespace_names=namespaces,
        metadata=metadata,
        fields=pairs(fields or {}),
        **thread_index_keys(),
    )
    if reply == b"rejudge":
        raise RightsChangedError
    return cast("Reply", reply.decode())


async def _reseal(redis: Client, source_id: str, target_id: str) -> list[str | bytes]:
    """Returns the argument `resealed` of the script. It is empty if no field is sealed, and no key would seal it."""
    key_ring = key_ring_of(redis)
    stored = await redis.hmget(keys.thread(source_id), list(THREAD_FIELDS))  # type: ignore[misc]
    resealed: list[str | bytes] = []
    for name, value in zip(THREAD_FIELDS, stored, strict=True):
        if value and (key_ring.is_sealing or value.startswith(SEALED)):
            plain = open_thread_field(key_ring, source_id, name, value)
            resealed += [name, value, seal_thread(key_ring, target_id, {name: plain})[name]]
    return resealed
