"""What becomes of a run whose thread has others, and of those: one table, read by the admission script.

Source: the `multitask_strategy` field of the LangGraph Platform API.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Strategy(StrEnum):
    """What a client may ask for."""

    REJECT = "reject"
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class CancelAction(StrEnum):
    """What happens to the checkpoints of a cancelled run. The values are stored on its record."""

    INTERRUPT = "interrupt"  # its checkpoints stay
    ROLLBACK = "rollback"  # its checkpoints and its record are deleted


class CancelReason(StrEnum):
    """Why a run was cancelled. The values are stored on its record, and clients read them as `cancel_reason`.

    Of several cancels the reason of the first one is stored.
    """

    EXPLICIT = "explicit"  # a client cancelled it
    DISCONNECT = "disconnect"  # the client that followed the run left (`on_disconnect`)
    SUPERSEDED = "superseded"  # a newer run of the thread displaced it (displacement.lua)
    DELETED = "deleted"  # it, or its thread, is being deleted
    WITHDRAWN = "withdrawn"  # the rest of its batch was refused


class NewRun(StrEnum):
    """What the admission script does with a new run whose thread has others that are pending or running."""

    REFUSE = "refuse"  # nothing is written; the caller answers 409
    WAIT = "wait"  # it joins the thread's FIFO; the end of the run before it releases it


@dataclass(frozen=True, slots=True)
class WhenBusy:
    """What becomes of a new run, and of those that its thread has already.

    Runs that are due later (`after_seconds`) count as well, but no new run waits for them.

    Attributes:
        new: what is done with the new run.
        cancel: the cancel that the others get, so that the new run goes next; None: they continue. The script writes it
            into their records.

    Raises:
        ValueError: `new` or `cancel` is a word of another kind.
    """

    new: NewRun
    cancel: CancelAction | None = None

    def __post_init__(self) -> None:
        """Refuses a word that no reader of the records knows."""
        NewRun(self.new)
        if self.cancel is not None:
            CancelAction(self.cancel)


WHEN_BUSY: Final = MappingProxyType(
    {
        Strategy.REJECT: WhenBusy(NewRun.REFUSE),
        Strategy.ENQUEUE: WhenBusy(NewRun.WAIT),
        Strategy.INTERRUPT: WhenBusy(NewRun.WAIT, CancelAction.INTERRUPT),
        Strategy.ROLLBACK: WhenBusy(NewRun.WAIT, CancelAction.ROLLBACK),
    }
)
