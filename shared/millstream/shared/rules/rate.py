"""Rates at which a caller may send requests: how an operator writes one, and the bucket that it means. Pure."""

import re
from dataclasses import dataclass
from typing import Final

UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
RULE: Final = (
    "use `100/s`, `600/min` or `1000/h`, with ` burst 200` after it if more may come at once"
)
MAX_PER_SECOND: Final = 10_000  # the script counts whole µs
MAX_BURST: Final = 1_000_000
_RATE: Final = re.compile(
    r"(?P<limit>\d{1,9}) ?/ ?(?P<unit>s|sec|second|m|min|minute|h|hour)( burst ?=? ?(?P<burst>\d{1,9}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` requests in `seconds`, of which `burst` may come at once.

    The algorithm is GCRA: a bucket of `burst` requests that fills up at the rate. In any time `t` a caller gets at
    most `burst + limit / seconds * t` requests.
    """

    limit: int
    seconds: int
    burst: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Returns the rate that an operator wrote. Without a burst, all of the limit may come at once.

        Raises ValueError, whose message says what is valid.
        """
        match = _RATE.fullmatch(" ".join(text.split()))
        if match is None:
            raise ValueError(f"{text!r} is not a rate: {RULE}")
        limit = int(match["limit"])
        rate = cls(limit, UNIT_SECONDS[match["unit"][0]], int(match["burst"] or limit))
        if not 0 < limit <= MAX_PER_SECOND * rate.seconds:
            raise ValueError(f"{text!r}: the rate must be between 1/h and {MAX_PER_SECOND}/s")
        if not 0 < rate.burst <= MAX_BURST:
            raise ValueError(f"{text!r}: the burst must be between 1 and {MAX_BURST}")
        return rate

    @property
    def interval_us(self) -> int:
        """The time in which a bucket gains one request, in µs; rounded up, so that a caller never gets more."""
        return -(-self.seconds * 1_000_000 // self.limit)

    @property
    def window_seconds(self) -> int:
        """The time in which an empty bucket fills up, in whole seconds."""
        return max(1, -(-self.burst * self.interval_us // 1_000_000))

    def __str__(self) -> str:
        unit = {1: "second", 60: "minute", 3600: "hour"}[self.seconds]
        return f"{self.limit} per {unit}, {self.burst} at once"
