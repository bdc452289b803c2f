"""Takes quota of rate limits: see take_quota.lua."""

from collections.abc import Sequence
from dataclasses import dataclass

from millstream.shared.redis import Client
from millstream.shared.rules.rate import Rate
from millstream.shared.scripts.script import Script

SCRIPT = Script("server/take_quota")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A caller's bucket of quota (`keys.quota`), its rate, and what is taken from it: at most the burst."""

    key: str
    rate: Rate
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Quota:
    """What a bucket has after a request, and the µs after which it has more; if it refused, what was to be taken."""

    left: int
    wait_us: int


async def take_quota(redis: Client, buckets: Sequence[Bucket]) -> tuple[bool, list[Quota]]:
    """Takes quota from each of the buckets, or from none. Returns whether it did, and what each bucket has now.

    Redis' clock decides. In Redis Cluster, all buckets of one call must be in one slot, as those of one caller are.
    """
    granted, *numbers = await SCRIPT(
        redis,
        buckets=[bucket.key for bucket in buckets],
        intervals=[bucket.rate.interval_us for bucket in buckets],
        bursts=[bucket.rate.burst for bucket in buckets],
        amounts=[bucket.amount for bucket in buckets],
    )
    return bool(granted), [Quota(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
