"""The files of the project, as git knows them."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


def tracked(*patterns: str) -> list[Path]:
    """Returns the files that git tracks or would add. Skips the test where there is no checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout: the list of files is not known")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]
