"""A check that nothing in Millstream blocks the event loop that it runs in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blockbuster import BlockBuster

CHECKED: Final = ("millstream.api", "millstream.worker", "millstream.shared")
# Functions that may block, and why that holds nobody up.
ALLOWED: Final = (
    # Imports the project at start, before the worker takes runs.
    ("millstream/worker/graphs.py", "load"),
    # Waits for the thread at the end, when no run is left. A thread of the executor would not do:
    # nodes that do not stop may hold all of them.
    ("millstream/worker/leases/heartbeat.py", "stop"),
    # Reads one small file, once for each time zone.
    ("millstream/shared/rules/cron_schedule.py", "_zone"),
)


def check() -> BlockBuster:
    """Returns the check, not yet active.

    While it is active, a call from Millstream that blocks a running event loop raises
    BlockingError. Blocking calls are those that blockbuster knows: sleeps, files, sockets, and
    locks that are taken by `acquire()`. Calls from tests or libraries alone go through, as do those
    in threads without an event loop.
    """
    checked = BlockBuster(scanned_modules=list(CHECKED))
    for function in checked.functions.values():
        for file, name in ALLOWED:
            function.can_block_in(file, name)
    return checked


@contextmanager
def nothing_blocks() -> Iterator[None]:
    """Has the check active within the block."""
    checked = check()
    checked.activate()
    try:
        yield
    finally:
        checked.deactivate()
