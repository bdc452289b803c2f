"""Stores an update of a thread's state: see store_state.lua."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from millstream.shared import keys
from millstream.shared.metadata_index import run_terms
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace, namespace_keys_of
from millstream.shared.scripts.script import Scalar, Script, pairs
from millstream.shared.scripts.threads.thread_index import thread_index_keys
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.fields import seal_thread
from millstream.shared.sealing.locations import of_run

SCRIPT = Script("threads/store_state")
Reply = Literal["stored", "changed", "busy", "late", "missing", "rejudge", "exists"]
FIRST: Final = 1  # index of the first key in Lua
PER_NAMESPACE: Final = 5  # keys
UPDATE: Final = "update-"  # prefix of an update's name among the segments of a thread


@dataclass(slots=True)
class StagedNamespace:
    """What an update stores in one namespace of a thread's checkpoints."""

    checkpoints: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # record, references
    values: dict[bytes, bytes] = field(default_factory=dict)  # field → msgpack
    writes: dict[str, bytes] = field(default_factory=dict)  # checkpoint id → packed list

    def to_arguments(self, first: int) -> list[Scalar]:
        """Returns key, field, value, …; `first` is the index of the namespace's first key."""
        _, records, references, values, writes = range(first, first + PER_NAMESPACE)
        items: list[Scalar] = []
        for checkpoint_id, (record, refers) in self.checkpoints.items():
            items += [records, checkpoint_id, record, references, checkpoint_id, refers]
        for name, value in self.values.items():
            items += [values, name, value]
        for checkpoint_id, entries in self.writes.items():
            items += [writes, checkpoint_id, entries]
        return items


async def store_state(
    redis: Client,
    thread_id: str,
    staged: Mapping[CheckpointNamespace, StagedNamespace],
    *,
    epoch: int | None,
    deadline_ms: int,
    fields: dict[str, Any],
    update: bytes = b"{}",
    stream_ttl: int,
    guard: str = "",
) -> Reply:
    """Stores the update in one step or not at all; returns the script's status.

    Args:
        staged: the new checkpoints, values and writes of each namespace.
        epoch: of the thread when the caller read its state; None to create the thread.
        deadline_ms: by the clock of Redis; after it nothing is stored.
        fields: of the thread's record.
        update: JSON of the `state_update` event in the thread's stream.
        stream_ttl: seconds for which that event stays readable.
        guard: of the metadata by which the caller's rights were judged (parts/guard.lua).
    """
    if "graph_id" in fields:
        fields = {**fields, "run_terms": run_terms(fields["graph_id"], fields["assistant_id"])}
    key_ring = key_ring_of(redis)
    token = uuid.uuid4().hex
    segment = f"{UPDATE}{token}"
    namespaces = [namespace.name for namespace in staged]
    stored: list[Scalar] = []
    for number, namespace in enumerate(staged.values()):
        stored += namespace.to_arguments(FIRST + PER_NAMESPACE * number)
    reply = await SCRIPT(
        redis,
        thread=keys.thread(thread_id),
        namespaces=keys.checkpoint_namespaces(thread_id),
        expiring=keys.expiring(),
        segments=keys.segments(thread_id),
        events=keys.events(thread_id, segment),
        namespace_keys=namespace_keys_of(thread_id, namespaces),
        token=token,
        epoch="" if epoch is None else epoch,
        deadline=deadline_ms,
        thread_id=thread_id,
        segment_id=segment,
        update=key_ring.seal(of_run(thread_id, segment, "event"), update),
        guard=guard,
        events_ttl=stream_ttl,
        thread_fields=pairs(seal_thread(key_ring, thread_id, fields)),
        namespace_names=namespaces,
        stored=stored,
        **thread_index_keys(),
    )
    return cast("Reply", reply.decode())
