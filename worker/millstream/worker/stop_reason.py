"""The reasons for which a run is stopped before its graph has ended."""

from enum import StrEnum


class StopReason(StrEnum):
    """Why a graph is stopped. The values appear in logs, and on the socket to the process of an isolated run."""

    LOST = "lost"
    """Another worker holds the run, or the run is deleted: no write succeeds any more."""
    LAPSED = "lapsed"
    """The lease could not be renewed in time: another worker may hold the run by now."""
    DRAIN = "drain"
    """This worker stops, or needs room for a run that is executed alone: the run is handed back."""
    NO_PROCESS = "no process"
    """No process can be started for an isolated run: the run is handed back."""
    CANCELLED = "cancelled"
    """A cancel was requested; the run's record has its CancelAction."""

    @property
    def is_lost(self) -> bool:
        """Whether another worker holds the lease, or may hold it."""
        return self in (StopReason.LOST, StopReason.LAPSED)

    @property
    def continues_elsewhere(self) -> bool:
        """Whether another worker continues the run, so that this one must not write its end."""
        return self is not StopReason.CANCELLED

    @classmethod
    def choose(cls, earlier: "StopReason | None", later: "StopReason") -> "StopReason":
        """Returns the earlier of two reasons, or the later one if it is a lost lease."""
        return later if earlier is None or later is cls.LOST else earlier
