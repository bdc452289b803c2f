"""Store an update of a thread's state: see store_state.lua."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from millstream.shared import keys
from millstream.shared.metadata_index import run_terms
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace, namespace_keys_of
from millstream.shared.scripts.script import Script, Word, pairs
from millstream.shared.scripts.threads.thread_index import thread_index_keys

SCRIPT = Script("threads/store_state")
Reply = Literal["stored", "changed", "busy", "late", "missing", "exists"]
FIRST: Final = 1  # the number of the first namespace's first key
PER_NAMESPACE: Final = 5
UPDATE: Final = "update-"  # begins the name of an update among the segments of a thread


@dataclass(slots=True)
class StagedNamespace:
    """What is to be stored in one namespace of a thread's checkpoints."""

    checkpoints: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # record, references
    values: dict[bytes, bytes] = field(default_factory=dict)
    writes: dict[str, bytes] = field(default_factory=dict)  # checkpoint id → framed entries

    def words(self, first: int) -> list[Word]:
        """Returns key, field, value, …; `first` is the number of the namespace's first key."""
        _, records, references, values, writes = range(first, first + PER_NAMESPACE)
        found: list[Word] = []
        for checkpoint_id, (record, refers) in self.checkpoints.items():
            found += [records, checkpoint_id, record, references, checkpoint_id, refers]
        for name, value in self.values.items():
            found += [values, name, value]
        for checkpoint_id, entries in self.writes.items():
            found += [writes, checkpoint_id, entries]
        return found


async def store_state(
    redis: Client,
    thread_id: str,
    staged: Mapping[CheckpointNamespace, StagedNamespace],
    *,
    epoch: int | None,
    deadline_ms: int,
    fields: dict[str, Any],
    told: bytes = b"{}",
    stream_ttl: int,
) -> Reply:
    """Stores all of it in one step or nothing; returns the script's word for what happened.

    Args:
        staged: what is new in each namespace of the thread.
        epoch: that of the thread when its state was read; None for a thread that is to be new.
        deadline_ms: by the clock of Redis; after it nothing is stored.
        fields: of the thread's record.
        told: JSON that the thread's stream shows of it.
        stream_ttl: seconds for which that can be read.
    """
    if "graph_id" in fields:
        fields = {**fields, "run_terms": run_terms(fields["graph_id"], fields["assistant_id"])}
    own = pairs(fields)
    token = uuid.uuid4().hex
    segment = f"{UPDATE}{token}"
    namespaces = [namespace.name for namespace in staged]
    stored: list[Word] = []
    for number, namespace in enumerate(staged.values()):
        stored += namespace.words(FIRST + PER_NAMESPACE * number)
    reply = await SCRIPT(
        redis,
        thread=keys.thread(thread_id),
        namespaces=keys.checkpoint_namespaces(thread_id),
        expiring=keys.expiring(),
        segments=keys.segments(thread_id),
        events=keys.events(thread_id, segment),
        families=namespace_keys_of(thread_id, namespaces),
        token=token,
        epoch="" if epoch is None else epoch,
        deadline=deadline_ms,
        thread_id=thread_id,
        segment_id=segment,
        update=told,
        events_ttl=stream_ttl,
        thread_fields=own,
        namespace_names=namespaces,
        stored=stored,
        **thread_index_keys(),
    )
    return cast("Reply", reply.decode())
