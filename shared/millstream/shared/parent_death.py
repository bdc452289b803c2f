"""Starts a program that Linux ends when the process that started it dies.

It runs as a script of its own, because a parent that gets SIGKILL can't stop its children, and setting the option
between fork and exec (`preexec_fn`) is unsafe in a process that has threads.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def dies_with_parent(argv: Sequence[str], signum: signal.Signals) -> list[str]:
    """Returns the command that runs `argv` and sends it `signum` if the calling process dies.

    The kernel watches the thread that starts the command, not only its process: start it from
    a thread that lives as long as the program should. On systems without prctl it returns `argv` unchanged.
    `argv[0]` must be a path.
    """
    if sys.platform != "linux":
        return list(argv)
    start = [sys.executable, "-I", "-S", __file__, str(int(signum)), str(os.getpid())]
    return [*start, *argv]


def end_with_parent(signum: int) -> None:
    """Has the kernel send `signum` to this process when the thread that started it ends."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum)
    except (ImportError, OSError, AttributeError):
        pass  # no libffi or no prctl: the process survives its parent


def main(signum: int, parent: int, argv: Sequence[str]) -> None:
    """Ties this process to `parent` and turns it into `argv`; does not return."""
    end_with_parent(signum)
    if os.getppid() != parent:
        sys.exit(1)  # the parent died before it could be watched
    os.execv(argv[0], list(argv))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
