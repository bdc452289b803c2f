"""What becomes of a run that finds its thread busy: one table, read by the admission script.

Source: the `multitask_strategy` field of the LangGraph Platform API.
"""

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
    """What becomes of what a cancelled run has done. The words stand in its record."""

    INTERRUPT = "interrupt"  # its checkpoints stay
    ROLLBACK = "rollback"  # its checkpoints and its record are deleted


class WhenBusy(StrEnum):
    """What the admission script does with a new run while the thread has an active one."""

    REFUSE = "refuse"  # nothing is written; the caller answers 409
    WAIT = "wait"  # it joins the thread's FIFO; the finish before it releases it
    INTERRUPT = "interrupt"  # the active run is cancelled; the new one goes next, before all others
    ROLLBACK = "rollback"  # the same, and what the active run left is undone


WHEN_BUSY: Final = MappingProxyType(
    {
        Strategy.REJECT: WhenBusy.REFUSE,
        Strategy.ENQUEUE: WhenBusy.WAIT,
        Strategy.INTERRUPT: WhenBusy.INTERRUPT,
        Strategy.ROLLBACK: WhenBusy.ROLLBACK,
    }
)
