"""Tracks whether Redis is available. The dispatch and the heartbeat report to it.

The dispatch notices no outage while it waits for a free slot, and the heartbeat none while it holds no lease. Together
they notice every outage in which leases can lapse.
"""

import math
import time

from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.rules.lease_policy import LeasePolicy


class RedisAvailability:
    """Whether Redis is available to one worker process. The event loop and the heartbeat's thread use it."""

    def __init__(self, policy: LeasePolicy, observer: RunObserver = UNOBSERVED) -> None:
        """Redis counts as available until the first `mark_down`."""
        self._grace = policy.grace_after_outage  # s
        self._observer = observer
        self._is_down = False
        self._down_at = -math.inf  # monotonic time at which the latest outage began
        self._up_at = -math.inf  # monotonic time at which it ended

    def mark_down(self) -> None:
        """Records that Redis is unavailable, rejects writes, or has stood still."""
        if not self._is_down:
            self._down_at = time.monotonic()
            self._is_down = True

    def mark_up(self) -> None:
        """Records that Redis has answered."""
        if self._is_down:
            self._up_at = time.monotonic()
            self._is_down = False
            self._observer.outage(self._up_at - self._down_at)

    def lease_grace(self) -> float:
        """Returns the seconds for which no worker takes over a lapsed lease.

        In an outage no worker can renew its leases. So after it each lease begins again, and the outage costs no
        run an attempt.
        """
        if self._is_down:
            return self._grace
        return max(0.0, self._up_at + self._grace - time.monotonic())
