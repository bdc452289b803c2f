"""The project's own rules for files: their length, names and docstrings."""

import ast
import re
from pathlib import Path

from house.tree import ROOT, tracked

MAX_LINES = 400
VAGUE = re.compile(r"(^|_)(utils?|common|helpers?|manager|service|handler|broker|core)(_|\.|$)")


def test_no_file_exceeds_the_line_limit() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py", "*.lua", "*.mjs")
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_no_module_has_a_vague_name() -> None:
    assert not [path.name for path in tracked("*.py") if VAGUE.search(path.name)]


def test_the_namespace_has_no_init() -> None:
    assert not list(ROOT.glob("*/millstream/__init__.py"))


def test_every_module_has_a_docstring() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in tracked("api/*.py", "worker/*.py", "shared/*.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent, silent


def test_every_public_function_has_a_docstring() -> None:
    silent = []
    for path in tracked("api/*.py", "worker/*.py", "shared/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                members: list[ast.stmt] = [node, *node.body]
            elif isinstance(node, ast.Module):
                members = list(node.body)
            else:
                continue
            silent += [
                f"{path.name}:{member.lineno} {member.name}"
                for member in members
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and not member.name.startswith("_")
                and not ast.get_docstring(member)
            ]
    assert not silent, silent


def test_no_file_contains_an_absolute_path() -> None:
    home = re.compile(r"(?<![\w.-])/(?:home|Users|root|work)/\w")
    files = [
        str(path.relative_to(ROOT))
        for path in tracked("*.py", "*.md", "*.toml", "*.json", "*.lock", "*.yaml", "Makefile")
        if path != Path(__file__) and home.search(path.read_text())
    ]
    assert not files


def test_no_file_contains_a_conflict_of_a_merge() -> None:
    marker = re.compile(r"^(?:<{7} |>{7} |={7}$)", re.MULTILINE)
    assert not [
        path.name for path in tracked("*") if marker.search(path.read_text(errors="replace"))
    ]


def test_locks_contain_no_registry_url() -> None:
    for lock in tracked("*.lock", "*package-lock.json"):
        assert not re.search(r"https?://(?!.*(funding|opencollective))", _sources(lock)), lock.name


def _sources(lock: Path) -> str:
    """Returns the lines that name the sources of packages; funding links are no sources."""
    lines = lock.read_text().splitlines()
    return "\n".join(line for line in lines if "resolved" in line or lock.suffix != ".json")


def test_nothing_waits_for_redis_by_itself() -> None:
    """A call is repeated by `retry_while_unavailable`, a loop waits by `OutageLog.wait_after`: they know the pauses."""
    outages = {"OUTAGE_ERRORS", "UNAVAILABLE", "WRITES_REJECTED", "Exception"}
    waiting = [
        f"{path.relative_to(ROOT)}:{handler.lineno}"
        for path in tracked("api/*.py", "worker/*.py", "shared/*.py")
        if "shared/redis/" not in str(path)
        for handler in ast.walk(ast.parse(path.read_text()))
        if isinstance(handler, ast.ExceptHandler)
        and handler.type is not None
        and outages & {name.id for name in ast.walk(handler.type) if isinstance(name, ast.Name)}
        and "asyncio.sleep(" in ast.unparse(handler)
    ]
    assert not waiting, waiting
