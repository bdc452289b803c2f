"""The benchmark runs and prints its tables. The test does not check its figures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.redis_modules import require_modules

ROOT = Path(__file__).parents[2]
EXPECTED = {
    "runs": ["first graph event", "floor", "1 node", "5 nodes", "200 tokens"],
    "metrics": ["commands of Redis", "GET /metrics", "CPU of API and worker"],
    "hostile": ["stall ms", "nothing"],
    "shares": ["identities", "us of Redis", "start of a run", "end of a run"],
    "threads": ["ratio", "the newest 10", "of one user", "count of all"],
    "checkpointers": ["ms a superstep", "ms a read", "millstream", "InMemorySaver"],
}


@pytest.mark.parametrize("part", EXPECTED)
def test_the_bench_prints_every_workload_beside_its_baseline(part: str) -> None:
    if part == "checkpointers":
        require_modules()  # for the library's checkpointer
    arguments = ["--part", part, "--scale", "0.02", "--latency-runs", "3"]
    result = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    for text in EXPECTED[part]:
        assert text in result.stdout
