"""The short form of `make chaos`: the same cluster and the same faults, for less than a minute."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.report import LOSSES

TESTS = Path(__file__).parents[1]
SEED = 1


@pytest.mark.timeout(240)
@pytest.mark.xdist_group("chaos")
def test_nothing_is_lost_in_a_minute_of_faults() -> None:
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        [sys.executable, "-m", "chaos", "--minutes", "0.6", "--seed", str(SEED), "--clients", "8"],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )
    print(result.stdout)  # noqa: T201
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"seed {SEED}" in result.stdout
    for kind in LOSSES:
        assert kind in result.stdout
