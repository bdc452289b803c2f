"""Proof, outside of Redis, that an older attempt wrote nothing once a newer one had begun.

The first step of each attempt notes how many of the run's steps the state held by then. Whatever
older attempts have left in the final state must be just as many.
"""

import os
from pathlib import Path


def note_step_count(folder: Path, token: str, attempt: int, steps: int) -> None:
    """Notes what an attempt found; what it noted first stays."""
    try:
        file = os.open(folder / f"{token}.{attempt}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    try:
        os.write(file, str(steps).encode())
    finally:
        os.close(file)


def read_step_counts(folder: Path) -> dict[str, dict[int, int]]:
    """Returns what was found: token → attempt → steps."""
    found: dict[str, dict[int, int]] = {}
    for path in folder.iterdir():
        token, _, attempt = path.name.rpartition(".")
        if text := path.read_text():  # else it was killed right there, before it read anything else
            found.setdefault(token, {})[int(attempt)] = int(text)
    return found
