"""A check that nothing in Millstream blocks the event loop that it runs in.

blockbuster knows which functions block: sleeps, files, sockets, and locks that are taken by `acquire()`. A call is
Millstream's if the innermost frame that belongs neither to Python nor to a library is: a test or the graph of a
project may block the event loop.
"""

import importlib
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from blockbuster import BlockBuster, BlockBusterFunction

# Functions that may block, each with the reason why it delays nothing.
ALLOWED: Final = (
    # Imports the project at start, before the worker claims runs.
    ("millstream/worker/graphs.py", "load"),
    # Import what the settings ask for, at the same time.
    ("millstream/worker/checkpoints/checkpointing.py", "open_checkpointing"),
    ("millstream/worker/checkpoints/checkpointing.py", "build_serializer"),
    # Waits for the heartbeat's thread at shutdown, when no run is left. An executor can't do it:
    # nodes that do not stop may hold all its threads.
    ("millstream/worker/leases/heartbeat.py", "stop"),
    # Waits for the threads of nodes at shutdown, which ends the process.
    ("millstream/worker/node_threads.py", "node_threads"),
    # Writes a line to the log: to a pipe or a terminal, as any program does.
    ("logging/__init__.py", "handle"),
    # The app of a project, whose frames are all FastAPI's; Millstream has none.
    ("fastapi/applications.py", "__call__"),
    # Reads the scripts, when they are imported.
    ("millstream/shared/scripts/script.py", "_with_parts"),
    # Reads one small file, once for each time zone.
    ("millstream/shared/rules/cron_schedule.py", "_zone"),
)
# Functions that blockbuster knows, and that block nobody: they ask the system for the working folder.
HARMLESS: Final = ("os.getcwd", "os.path.abspath")
CHECKED: Final = tuple(
    path
    for part in ("api", "worker", "shared")
    for path in importlib.import_module(f"millstream.{part}").__path__
)
LIBRARIES: Final = ("<", *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))
MARK: Final = "blocks the event loop: "  # begins what a process says of a call


@contextmanager
def nothing_blocks(report: Callable[[str], None], *, raises: bool = True) -> Iterator[None]:
    """Has the check active within the block.

    Args:
        report: receives each call from Millstream that blocks a running event loop: what, and from where.
        raises: whether such a call raises BlockingError, too.
    """
    checked = BlockBuster()
    for name in HARMLESS:
        del checked.functions[name]
    for function in checked.functions.values():
        for file, name in ALLOWED:
            function.can_block_in(file, name)
        function.can_block_predicate = partial(
            _may_block, function, function.can_block_predicate, report, raises
        )
    checked.activate()
    try:
        yield
    finally:
        checked.deactivate()


def _may_block(
    function: BlockBusterFunction,
    exempt: Callable[..., bool],
    report: Callable[[str], None],
    raises: bool,
    *args: Any,
    **kwargs: Any,
) -> bool:
    if exempt(*args, **kwargs):
        return True
    stack = list(_frames(sys._getframe(2)))
    if not _is_millstreams(stack) or _is_allowed(stack, function.can_block_functions):
        return True
    ours = [frame for frame in stack if frame.f_code.co_filename.startswith(CHECKED)]
    frames = map(_describe, [stack[0], *ours] if stack[0] not in ours else ours)
    report(f"{function.full_name} by {' by '.join(frames)}")
    return not raises


def _describe(frame: FrameType) -> str:
    file = "/".join(Path(frame.f_code.co_filename).parts[-3:])
    return f"{file}:{frame.f_lineno} {frame.f_code.co_name}"


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_millstreams(stack: Sequence[FrameType]) -> bool:
    for frame in stack:
        file = frame.f_code.co_filename
        if file.startswith(CHECKED):
            return True
        if not file.startswith(LIBRARIES):
            return False
    return False


def _is_allowed(stack: Sequence[FrameType], allowed: Sequence[tuple[str, Any]]) -> bool:
    return any(
        frame.f_code.co_name in functions and frame.f_code.co_filename.endswith(file)
        for frame in stack
        for file, functions in allowed
    )


def say(call: str) -> None:
    """Prints the calls that a process reported, for the test that reads its output."""
    print(f"{MARK}{call}", file=sys.stderr, flush=True)  # noqa: T201


def lines_of(output: Sequence[str]) -> list[str]:
    """Returns the calls that a process reported, of its output."""
    return [line for line in output if line.startswith(MARK)]
