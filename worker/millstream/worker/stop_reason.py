"""Why the execution of a run is stopped before its graph has ended."""

from enum import StrEnum


class StopReason(StrEnum):
    """Why a graph is stopped. The words are for logs, and for the pipe to a process of the run's own."""

    LOST = "lost"
    """Another worker holds the run, or the run is gone: nothing more can be written."""
    LAPSED = "lapsed"
    """The lease could not be renewed in time: another worker may hold the run by now."""
    DRAIN = "drain"
    """This worker stops, or needs room for a run that is executed alone: the run is handed back."""
    NO_PROCESS = "no process"
    """No process can be started for a run that is to have one: the run is handed back."""
    CANCELLED = "cancelled"
    """A cancel was requested; the run's record has its CancelAction."""

    @property
    def is_lost(self) -> bool:
        """Whether the lease is another worker's, or may be."""
        return self in (StopReason.LOST, StopReason.LAPSED)

    @property
    def continues_elsewhere(self) -> bool:
        """Whether another worker continues the run, so that this one must not write its end."""
        return self is not StopReason.CANCELLED

    def over(self, earlier: "StopReason | None") -> "StopReason":
        """Returns which of two reasons counts: the earlier one, unless the later one is a lost lease."""
        return self if earlier is None or self is StopReason.LOST else earlier
