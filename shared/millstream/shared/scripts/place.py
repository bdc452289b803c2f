"""What the scripts of checkpoints are told alike: where, and under which lease."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millstream.shared import keys
from millstream.shared.scripts.claim import Claim

FENCED: Final = -1  # what a script replies to a worker that has lost its lease
OTHER_NAMESPACES: Final = -2  # …to a caller that named other namespaces than there are


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of a thread's checkpoints."""

    thread_id: str
    namespace: str


def guard(thread_id: str, claim: Claim | None) -> tuple[str, str | int]:
    """Returns the run's key and the fence under which a write is made; '' for none."""
    if claim is None:
        return keys.thread(thread_id), ""
    return keys.run(claim.spec.thread_id, claim.spec.run_id), claim.fence


def family(thread_id: str, namespace: str) -> list[str]:
    """Returns the five keys of a namespace: index, records, references, values, writes."""
    return [
        keys.checkpoint_index(thread_id, namespace),
        keys.checkpoint_records(thread_id, namespace),
        keys.checkpoint_references(thread_id, namespace),
        keys.checkpoint_values(thread_id, namespace),
        keys.checkpoint_writes(thread_id, namespace),
    ]


def families(thread_id: str, namespaces: Sequence[str]) -> list[str]:
    """Returns the keys of the namespaces, five each, in their order."""
    return [key for namespace in namespaces for key in family(thread_id, namespace)]
