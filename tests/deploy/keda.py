"""What KEDA and its HPA make of a ScaledObject: the number of workers for the figures of a queue."""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

TOLERANCE: Final = 0.1  # of the HPA: a smaller change of the ratio changes nothing


class Trigger(NamedTuple):
    """One metrics-api trigger."""

    path: str  # with its query
    location: str
    target: float
    activation: float
    kind: str


def triggers(scaled: dict[str, Any]) -> list[Trigger]:
    """Returns the triggers of a ScaledObject."""
    result = []
    for each in scaled["spec"]["triggers"]:
        metadata = each["metadata"]
        url = urlsplit(metadata["url"])
        result.append(
            Trigger(
                f"{url.path}?{url.query}",
                metadata["valueLocation"],
                float(metadata["targetValue"]),
                float(metadata["activationTargetValue"]),
                each["metricType"],
            )
        )
    return result


def desired(scaled: dict[str, Any], current: int, read: Callable[[Trigger], float]) -> int:
    """Returns the number of workers that the triggers ask for, before the policies that slow changes down.

    KEDA starts the first worker, and stops the last after the cooldown. In between the HPA takes the largest number
    that a metric asks for. An AverageValue is shared by all workers, a Value multiplies their number.
    """
    spec = scaled["spec"]
    low, high = int(spec.get("minReplicaCount", 0)), int(spec["maxReplicaCount"])
    values = [(trigger, read(trigger)) for trigger in triggers(scaled)]
    if low == 0 and not any(value > trigger.activation for trigger, value in values):
        return 0
    if current == 0:
        return max(low, 1)
    proposals = []
    for trigger, value in values:
        share = value / current if trigger.kind == "AverageValue" else value
        ratio = share / trigger.target
        proposals.append(current if abs(ratio - 1) <= TOLERANCE else math.ceil(ratio * current))
    return max(low, 1, min(high, max(proposals)))
