"""Decides from a run's record how far the run is isolated from others. Pure.

No code can catch the sudden end of a process (`os._exit`, a crash of native code, memory that runs out). If several
runs share the process, no one can tell which of them ended it. So when a worker dies, all of its runs become suspects.
A suspect is executed in its own process: if that process dies, the run has ended it, and the worker records that. If
workers still die, a worker executes the run while it executes nothing else.
"""

from enum import Enum, auto

from millstream.shared.scripts import Claim


class Level(Enum):
    """The isolation of a run from others."""

    SHARED = auto()  # executed in the worker's process
    PROCESS = auto()  # executed in its own process, while the worker executes other runs
    ALONE = auto()  # executed in its own process, while the worker executes no other run


def level_of(claim: Claim, *, isolated: bool, max_attempts: int) -> Level:
    """Returns the isolation of a claimed run.

    Args:
        isolated: whether langgraph.json requires a process for each run of the graph (`isolation`).
        max_attempts: the number of lapsed leases after which the worker executes nothing else.
    """
    if claim.cancel is not None or claim.exhausted:
        return Level.SHARED  # the run is ended without being executed
    if claim.lapses >= max_attempts:
        return Level.ALONE
    if isolated or claim.lapses or claim.crashes:
        return Level.PROCESS
    return Level.SHARED


def needs_unused_process(claim: Claim, *, max_attempts: int) -> bool:
    """Returns whether the run needs a process that has executed no other run.

    An earlier run can leave something behind, such as a thread, that ends the process later. Such a crash may be
    counted against the wrong run once, but it must not be the one after which the run is given up (claim.lua).
    """
    return claim.crashes + min(claim.lapses, 1) + 1 >= max_attempts
