"""A file that the worker touches while its event loop works, for health checks that need no network and no Python."""

import os
from pathlib import Path
from typing import Final

from millstream.shared.errors import SettingError
from millstream.worker.background import Service, periodic

EVERY: Final = 5.0  # s between touches


def clear(path: Path) -> None:
    """Removes the file of an earlier process, which would count as alive while this one starts.

    Raises SettingError if the file can't be written.
    """
    try:
        path.touch()
        path.unlink()
    except OSError as error:
        raise SettingError(
            f"MILLSTREAM_ALIVE_FILE={str(path)!r} can't be written: {error.strerror}. "
            "Name a file in a folder that the worker may write to."
        ) from None


def service(path: Path) -> Service:
    """Returns the service that creates the file and touches it.

    It says nothing about Redis: an outage is no reason to restart a worker.
    """
    touches = periodic("alive file", EVERY, lambda: _touch(path))

    async def run() -> None:
        await _touch(path)
        await touches.run()

    return Service("alive file", run)


async def _touch(path: Path) -> None:
    # Not in a thread: nodes that do not stop may occupy all of them. The folder is in memory (/tmp of a container).
    try:
        os.utime(path)
    except FileNotFoundError:
        path.touch()  # noqa: ASYNC240
