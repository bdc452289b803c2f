"""Runs the scripts of tests/js in Node."""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[1] / "js"
# The folder of the scripts and their modules; `make newest` has a copy with the newest modules.
JS = Path(os.environ.get("JS_SCRIPTS", HERE)).absolute()
MISSING = [program for program in ("node", "npm") if shutil.which(program) is None]


def require() -> None:
    """Installs the scripts' modules. Skips the test without Node."""
    if MISSING:
        pytest.skip(f"{' and '.join(MISSING)} not installed")
    if JS == HERE:
        install()


def install() -> None:
    """Installs the modules of the lock file, unless they are installed; one process at a time."""
    lock_file = JS / "package-lock.json"
    stamp = JS / "node_modules" / ".installed"
    with lock_file.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = hashlib.sha256(lock.read()).hexdigest()
        if not stamp.exists() or stamp.read_text() != digest:
            done = subprocess.run(
                ["npm", "ci"], cwd=JS, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            stamp.write_text(digest)


async def node(script: str, *arguments: str) -> Any:
    """Runs a script; returns the JSON that it prints."""
    process = await asyncio.create_subprocess_exec(
        "node", script, *arguments, cwd=JS, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(90):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)
