"""How far a run is kept apart from others: decided here, of its record alone. Pure.

What ends a process at once (`os._exit`, a crash of native code, memory that runs out) can't be caught,
and where several runs share the process nobody can say which of them did it. So the first death of a
worker makes all of its runs suspects. A suspect is executed in a process of its own: if that one dies,
the run did it, and its worker lives on to say so. And if workers die even so, the run is executed by a
worker that executes nothing else.
"""

from enum import Enum, auto

from millstream.shared.scripts import Claim


class Level(Enum):
    """What a run shares with others."""

    SHARED = auto()  # the worker's own process
    PROCESS = auto()  # the worker; it has a process of its own
    ALONE = auto()  # nothing: its worker executes no other run meanwhile


def level_of(claim: Claim, *, isolated: bool, max_attempts: int) -> Level:
    """Returns how a claimed run is executed.

    Args:
        isolated: whether its graph asks for a process of its own (`isolation` of langgraph.json).
        max_attempts: how many lapsed leases a run may share with others.
    """
    if claim.cancel is not None or claim.exhausted:
        return Level.SHARED  # it is ended, not executed
    if claim.lapses >= max_attempts:
        return Level.ALONE
    if isolated or claim.lapses or claim.crashes:
        return Level.PROCESS
    return Level.SHARED


def needs_unused_process(claim: Claim, *, max_attempts: int) -> bool:
    """Returns whether the run must not have a process that has executed another run before.

    What that one left behind, a thread say, can end the process later. One crash that is another's may
    be counted, but not the one after which the run is given up (claim.lua).
    """
    return claim.crashes + min(claim.lapses, 1) + 1 >= max_attempts
