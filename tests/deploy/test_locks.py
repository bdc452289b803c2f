"""The lock files agree with each other and with pyproject.toml."""

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


def pins(lock: str) -> dict[str, str]:
    """Returns the version of each package in a lock file."""
    pattern = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)
    return dict(pattern.findall((ROOT / lock).read_text()))


@pytest.mark.parametrize("lock", ["tools.lock", "deploy/api.lock", "deploy/worker.lock"])
def test_a_package_has_one_version_in_all_locks(lock: str) -> None:
    development = pins("requirements.lock")
    assert pins(lock)
    assert {
        name: (version, development[name])
        for name, version in pins(lock).items()
        if name in development and development[name] != version
    } == {}


def test_the_lock_of_tools_has_the_whole_group() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {re.split(r"[^a-z0-9-]", tool)[0] for tool in project["dependency-groups"]["tools"]}
    assert names <= pins("tools.lock").keys()
