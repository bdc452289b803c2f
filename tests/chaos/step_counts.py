"""Proof, outside of Redis, that an older attempt wrote nothing after a newer one had begun.

The first step of each attempt writes to a file how many of the run's steps the state had then. In
the final state, older attempts must have written exactly that many.
"""

import os
from pathlib import Path


def note_step_count(folder: Path, token: str, attempt: int, steps: int) -> None:
    """Writes the number of steps that an attempt started from. Only its first call counts."""
    try:
        file = os.open(folder / f"{token}.{attempt}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    try:
        os.write(file, str(steps).encode())
    finally:
        os.close(file)


def read_step_counts(folder: Path) -> dict[str, dict[int, int]]:
    """Returns the numbers: token → attempt → steps."""
    counts: dict[str, dict[int, int]] = {}
    for path in folder.iterdir():
        token, _, attempt = path.name.rpartition(".")
        if text := path.read_text():  # empty if the process was killed before it wrote
            counts.setdefault(token, {})[int(attempt)] = int(text)
    return counts
