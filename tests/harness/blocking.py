"""A check that nothing in Millstream blocks its event loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blockbuster import BlockBuster

CHECKED: Final = ("millstream.api", "millstream.worker", "millstream.shared")
# Functions that may block, each with the reason why it delays nothing.
ALLOWED: Final = (
    # Imports the project at start, before the worker claims runs.
    ("millstream/worker/graphs.py", "load"),
    # Waits for the heartbeat's thread at shutdown, when no run is left. An executor can't do it:
    # nodes that do not stop may hold all its threads.
    ("millstream/worker/leases/heartbeat.py", "stop"),
    # Reads one small file, once for each time zone.
    ("millstream/shared/rules/cron_schedule.py", "_zone"),
)


def check() -> BlockBuster:
    """Returns the check, not yet active.

    While it is active, a call from Millstream that blocks a running event loop raises
    BlockingError. Blocking calls are those that blockbuster knows: sleeps, files, sockets, and
    locks taken by `acquire()`. Calls that only tests or libraries make are allowed, and so are
    calls in threads without an event loop.
    """
    checked = BlockBuster(scanned_modules=list(CHECKED))
    for function in checked.functions.values():
        for file, name in ALLOWED:
            function.can_block_in(file, name)
    return checked


@contextmanager
def nothing_blocks() -> Iterator[None]:
    """Activates the check within the block."""
    checked = check()
    checked.activate()
    try:
        yield
    finally:
        checked.deactivate()
