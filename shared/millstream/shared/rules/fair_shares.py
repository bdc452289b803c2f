"""The share of each identity of the workers, and the limits of admissions.

The order of due runs follows from it: see scripts/parts/fair_queue.lua.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Final

COST: Final = 0.01  # of one run of an identity with the weight 1, in the unit of tags
MIN_WEIGHT: Final = 0.1
MAX_WEIGHT: Final = (
    100.0  # a cost stays far above the step between two new identities (fair_queue.lua)
)


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """What one process applies to the runs that it admits."""

    max_live: int = 0
    """Runs that have not ended; 0 for no limit."""
    max_live_of_identity: int = 0
    """Those of one identity; 0 for no limit. Runs without an identity have only the other limit."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Identity → weight; 1 for all others."""

    def cost(self, identity: str) -> float:
        """Returns by how much one run raises the tag of the next run of its identity."""
        return COST / self.weights.get(identity, 1.0)


NO_LIMITS: Final = AdmissionLimits()


def identity_digest(identity: str) -> str:
    """Returns the name of an identity in Redis: short, and without blanks; '' for no identity."""
    return (
        hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        if identity
        else ""
    )


@cache  # each admission reads the setting
def parse_weights(text: str) -> Mapping[str, float]:
    """Returns identity → weight of `identity=weight,…`; raises ValueError, which names the invalid part."""
    weights: dict[str, float] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        identity, equals, number = (each.strip() for each in part.rpartition("="))
        if not equals or not identity:
            raise ValueError(f"{part!r} is not identity=weight")
        try:
            weight = float(number)
        except ValueError:
            weight = 0.0
        if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
            raise ValueError(
                f"the weight of {part!r} must be a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}"
            )
        if identity in weights:
            raise ValueError(f"{identity!r} has two weights")
        weights[identity] = weight
    return MappingProxyType(weights)
