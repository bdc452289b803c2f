"""The execution of one attempt's graph: the interface of GraphRun (in this process) and ProcessRun (in another)."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from millstream.shared.scripts import Claim
from millstream.worker.graph_result import GraphResult
from millstream.worker.stop_reason import StopReason

# s in which a cancelled graph must stop. Otherwise the run ends without it, and the graph's later writes are refused.
STOP_GRACE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Unsent:
    """The unsent events of a closed stream, and the stream's position in Redis."""

    items: list[str | bytes]  # unsent events: name, JSON, …
    batches: int  # batches that this attempt has sent
    index: int  # of the newest event that Redis is known to have
    refused: bool  # Redis has refused a batch, so it must not get a later one


class CrashError(Exception):
    """The run has ended the process in which it alone was executed; the text says how."""


class Execution(ABC):
    """Executes one attempt's graph, in this process or in another one.

    Attributes:
        claim: the lease of the run.
        reason: why the graph was stopped; None if it was not.
    """

    def __init__(self, claim: Claim) -> None:
        """Does not start the graph."""
        self.claim = claim
        self.reason: StopReason | None = None
        self._stop = asyncio.Event()

    def __repr__(self) -> str:
        return self.claim.description

    @property
    def is_given_up(self) -> bool:
        """Whether the graph was stopped so that another worker continues the run."""
        return self.reason is not None and self.reason.continues_elsewhere

    def stop(self, reason: StopReason) -> None:
        """Stops the graph. If it has several reasons, `StopReason.choose` decides."""
        self.reason = StopReason.choose(self.reason, reason)
        self._stop.set()
        self._on_stop(self.reason)

    @abstractmethod
    def _on_stop(self, reason: StopReason) -> None:
        """Called after each stop with the chosen reason."""

    @property
    @abstractmethod
    def time_limit(self) -> float:
        """Seconds in which `run` ends, unless the event loop is blocked."""

    @abstractmethod
    async def run(self) -> GraphResult:
        """Executes the graph until it ends, is stopped, or its time is up; raises CrashError."""

    @abstractmethod
    async def close(self) -> Unsent:
        """Closes the stream of events; a repeated call returns no items."""
