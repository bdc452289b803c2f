"""The benchmark runs to its end and prints its table; its figures are not judged."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_bench_prints_every_work_beside_the_floor() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "--scale", "0.02", "--latency-runs", "3"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    for word in (
        "first graph event",
        "floor",
        "1 node",
        "5 nodes",
        "200 tokens",
        "ms a superstep",
        "millstream",
    ):
        assert word in ran.stdout
