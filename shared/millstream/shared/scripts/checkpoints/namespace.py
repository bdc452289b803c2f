"""The arguments that all checkpoint scripts share: the keys of a namespace, and the caller's lease."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millstream.shared import keys
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts.runs.claim import Claim

FENCED: Final = -1  # reply to a caller that has lost its lease
OTHER_NAMESPACES: Final = -2  # reply to a caller that listed other namespaces than the thread has


@dataclass(frozen=True, slots=True)
class CheckpointNamespace:
    """A namespace of a thread's checkpoints: those of the root graph, or of one subgraph."""

    thread_id: str
    name: str  # '' is the root graph's


def fence_arguments(thread_id: str, claim: Claim | None) -> dict[str, str | int]:
    """Returns the lease of a write as `run`, `fence` and `running`; without a claim, an empty fence."""
    if claim is None:
        return {"run": keys.thread(thread_id), "fence": "", "running": RunStatus.RUNNING}
    run = keys.run(claim.spec.thread_id, claim.spec.run_id)
    return {"run": run, "fence": claim.fence, "running": RunStatus.RUNNING}


def namespace_keys(thread_id: str, namespace: str) -> dict[str, str]:
    """Returns the five keys of a namespace, in the order that the scripts expect."""
    return {
        "index": keys.checkpoint_index(thread_id, namespace),
        "records": keys.checkpoint_records(thread_id, namespace),
        "references": keys.checkpoint_references(thread_id, namespace),
        "values": keys.checkpoint_values(thread_id, namespace),
        "writes": keys.checkpoint_writes(thread_id, namespace),
    }


def namespace_keys_of(thread_id: str, namespaces: Sequence[str]) -> list[str]:
    """Returns the keys of all these namespaces in their order, five each."""
    return [
        key for namespace in namespaces for key in namespace_keys(thread_id, namespace).values()
    ]
