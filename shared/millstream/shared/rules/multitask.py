"""What becomes of a run whose thread has others, and of those: one table, read by the admission script.

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


class CancelReason(StrEnum):
    """Why a cancel was asked for. The words stand in a run's record, and clients read them as
    `cancel_reason`; of several cancels the first one's counts."""

    EXPLICIT = "explicit"  # a client asked for it
    DISCONNECT = "disconnect"  # the client that followed the run left (`on_disconnect`)
    SUPERSEDED = "superseded"  # a newer run of the thread displaced it (displacement.lua)
    DELETED = "deleted"  # it, or its thread, is being deleted
    WITHDRAWN = "withdrawn"  # the rest of its batch was refused


class WhenBusy(StrEnum):
    """What the admission script does with a new run while the thread has others that are pending or
    running. Those that are due later (`after_seconds`) count, but for WAIT: nobody waits for them."""

    REFUSE = "refuse"  # nothing is written; the caller answers 409
    WAIT = "wait"  # it joins the thread's FIFO; the finish before it releases it
    INTERRUPT = "interrupt"  # all of them are cancelled; the new one goes next
    ROLLBACK = "rollback"  # the same, and what they left is undone and their records are deleted


WHEN_BUSY: Final = MappingProxyType(
    {
        Strategy.REJECT: WhenBusy.REFUSE,
        Strategy.ENQUEUE: WhenBusy.WAIT,
        Strategy.INTERRUPT: WhenBusy.INTERRUPT,
        Strategy.ROLLBACK: WhenBusy.ROLLBACK,
    }
)
