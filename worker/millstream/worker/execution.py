"""What executes one attempt's graph: what executions in the worker and in a process of their own have in common."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from millstream.shared.scripts import Claim
from millstream.worker.graph_result import GraphResult
from millstream.worker.stop_reason import StopReason

# s that a cancelled graph may take to stop; after it the run is ended without it, and whatever
# the graph still writes is refused.
STOP_GRACE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Unsent:
    """What a graph's stream still holds when it is closed, and where it stands in Redis."""

    words: list[str | bytes]  # event name, JSON data, …: no batch took them
    batches: int  # how many batches of this attempt were sent
    index: int  # of the newest event that Redis is known to have
    refused: bool  # Redis refused a batch, so nothing may be written behind it


class CrashError(Exception):
    """The run ended the process in which it alone was executed; the text says how."""


class Execution(ABC):
    """Executes one attempt's graph, in this process or in another one.

    Attributes:
        claim: the lease under which it does so.
        reason: why it was stopped; None if it was not.
    """

    def __init__(self, claim: Claim) -> None:
        """Executes nothing yet."""
        self.claim = claim
        self.reason: StopReason | None = None
        self._stop = asyncio.Event()

    def __repr__(self) -> str:
        return self.claim.description

    @property
    def is_given_up(self) -> bool:
        """Whether it was stopped for another worker to continue the run."""
        return self.reason is not None and self.reason.continues_elsewhere

    def stop(self, reason: StopReason) -> None:
        """Has the graph stopped; of several reasons see `StopReason.over`."""
        self.reason = reason.over(self.reason)
        self._stop.set()
        self._on_stop(self.reason)

    @abstractmethod
    def _on_stop(self, reason: StopReason) -> None:
        """Called after each stop, with the reason that counts."""

    @property
    @abstractmethod
    def time_limit(self) -> float:
        """Seconds in which `run` has ended, unless the event loop is held up."""

    @abstractmethod
    async def run(self) -> GraphResult:
        """Executes the graph until it ends, is stopped, or its time is up; raises CrashError."""

    @abstractmethod
    async def close(self) -> Unsent:
        """Ends the stream of events; a repeated call returns no words again."""
