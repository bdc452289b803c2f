"""The short form of `make chaos`: the same town and the same trouble, for less than a minute."""

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
    ran = subprocess.run(
        [sys.executable, "-m", "chaos", "--minutes", "0.6", "--seed", str(SEED), "--clients", "8"],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )
    print(ran.stdout)  # noqa: T201
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"seed {SEED}" in ran.stdout
    for word in LOSSES:
        assert word in ran.stdout
