"""Chromium, and the Node packages of the chat example, which drive it."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parents[3] / "examples" / "chat"
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser: Final = pytest.mark.skipif(
    CHROMIUM is None or shutil.which("npm") is None, reason="chromium or npm is not installed"
)


def run_npm(*steps: list[str]) -> None:
    """Installs the packages of the lock file, unless they are installed, and runs the steps in their folder."""
    lock_file = FOLDER / "package-lock.json"
    stamp = FOLDER / "node_modules" / ".installed"
    with lock_file.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = hashlib.sha256(lock.read()).hexdigest()
        commands = list(steps)
        if not stamp.exists() or stamp.read_text() != digest:
            commands.insert(0, ["npm", "ci"])
        for command in commands:
            done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        stamp.write_text(digest)
