"""Threads of nodes that do not end: the process ends without them."""

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, threading
from millstream.worker.node_threads import node_threads

async def main():
    async with node_threads(2):
        asyncio.get_running_loop().run_in_executor(None, {node})
        await asyncio.sleep(0)
        {body}
    print("left")

asyncio.run(main())
"""
STUCK, ENDS = "threading.Event().wait", "print"


@pytest.mark.parametrize(
    ("node", "body", "status", "said"),
    [
        (ENDS, "pass", 0, ""),
        (STUCK, "pass", 0, "can't be ended"),
        (STUCK, "raise RuntimeError('a part ended')", 1, "a part ended"),
        (ENDS, "raise RuntimeError('a part ended')", 1, "RuntimeError: a part ended"),
    ],
)
def test_the_exit_status_names_the_cause(node: str, body: str, status: int, said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(node=node, body=body)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == status
    assert said in ended.stderr
    assert ("left" in ended.stdout) == (node == ENDS and status == 0)
