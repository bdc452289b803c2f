"""Whether Redis is there, and since when: what all parts of a worker notice of it, in one place.

The dispatch hears nothing of an outage while it waits for a free slot, the heartbeat nothing while it holds no
run. Together they miss none that lets leases lapse.
"""

import math
import time

from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.rules.lease_policy import LeasePolicy


class RedisAvailability:
    """Of one worker process; the event loop and the heartbeat's thread tell it what they notice."""

    def __init__(self, policy: LeasePolicy, observer: RunObserver = UNOBSERVED) -> None:
        """Redis counts as available until somebody notices that it is not."""
        self._grace = policy.grace_after_outage  # s
        self._observer = observer
        self._away = False
        self._since = -math.inf  # monotonic time of the latest outage's begin
        self._back = -math.inf  # and of its end

    def mark_down(self) -> None:
        """Redis is away, takes no writes, or stood still."""
        if not self._away:
            self._since = time.monotonic()
            self._away = True

    def mark_up(self) -> None:
        """Redis has answered."""
        if self._away:
            self._back = time.monotonic()
            self._away = False
            self._observer.outage(self._back - self._since)

    def lease_grace(self) -> float:
        """Returns the seconds for which lapsed leases are left to their holders: after a time in which
        nobody could renew, each lease begins anew, so that an outage costs no run an attempt."""
        if self._away:
            return self._grace
        return max(0.0, self._back + self._grace - time.monotonic())
