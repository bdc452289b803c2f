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


class WhenBusy(StrEnum):
    """What the admission script does with a new run while the thread has an active one."""

    REFUSE = "refuse"  # nothing is written; the caller answers 409
    WAIT = "wait"  # it joins the thread's FIFO; the finish before it releases it


WHEN_BUSY: Final = MappingProxyType(
    {
        Strategy.REJECT: WhenBusy.REFUSE,
        Strategy.ENQUEUE: WhenBusy.WAIT,
    }
)
