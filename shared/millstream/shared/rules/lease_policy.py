"""The lease policy: every time that follows from LEASE_SECS, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """How a lease is kept, lost and taken over. All times are in seconds but `lease_ms`.

    Attributes:
        lease: how long a run is a worker's without a renewal (LEASE_SECS).
        margin: beyond a lease, how long one attempt to reach Redis may take: names are looked up, sentinels asked,
            none of them answers.
    """

    lease: float
    margin: float = 60.0

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds, as scripts take it."""
        return int(self.lease * 1000)

    @property
    def renew_every(self) -> float:
        """Between renewals: two of them may fail before the lease lapses."""
        return self.lease / 3

    @property
    def reply_timeout(self) -> float:
        """In which Redis must answer a renewal; with short leases not less than a busy machine takes."""
        return max(0.3, self.renew_every)

    @property
    def late_after(self) -> float:
        """An answer that is later than this says that Redis stood still: renewals may have failed."""
        return self.renew_every

    @property
    def grace_after_outage(self) -> float:
        """How long lapsed leases are left to their holders once Redis is back: as if each began anew."""
        return self.lease

    @property
    def stalled_after(self) -> float:
        """A heartbeat that does nothing for so long stands still."""
        return self.lease + self.margin

    @property
    def look_every(self) -> float:
        """Between looks at the queue: the longest that a lapsed lease, or a lost wake-up, lies unseen."""
        return 1.0

    @property
    def takeover_within(self) -> float:
        """In which a cancelled run has ended although its worker died: its lease lapses, and another worker claims
        it and ends it."""
        return self.lease + 10.0

    @property
    def reap_every(self) -> float:
        """Between two rounds of the reaper: a worker that holds a run has renewed its lease in that time."""
        return self.lease

    def renewed_for(self, time_limit: float) -> float:
        """Returns how long a lease is renewed at most, for a run that is to end within `time_limit` seconds.

        Code that blocks the worker's event loop keeps the run from its end. Without this limit its lease would be
        renewed for ever.
        """
        return time_limit + 30.0
