"""`make mutants`: its mutants are what they claim to be, and one small run works from end to end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lupa.lua51 import LuaRuntime

from house.tree import ROOT
from mutants import explained, lua, python, targets
from mutants.mutant import Mutant, mutants_of

SCRIPT = """\
-- a comment with `if`
local function is_late(due, now)
  return due and due <= now or false
end
if is_late(KEYS[1], 2) and not ARGV[1] then
  redis.call('DEL', 'a == b')
elseif #ARGV == 3 then
  while math.max(1, 2) > 1 do break end
end
"""
MODULE = """\
def is_late(due: int | None, now: int = 3) -> bool:
    if due is not None and (due <= now - 1):
        log.info("late by %d", now - due)
        raise ValueError(f"{due < now}")
    return not due
"""


def changes(text: str, mutants: list[Mutant]) -> list[tuple[int, str, str]]:
    """Returns the line, the change, and the line that it leads to, of each mutant."""
    return [
        (each.line, each.change, each.apply(text).splitlines()[each.line - 1].strip())
        for each in mutants
    ]


def test_the_mutants_of_a_script() -> None:
    last = "while math.max(1, 2) > 1 do break end"
    assert changes(SCRIPT, mutants_of("a.lua", SCRIPT, lua.edits)) == [
        (3, "without `due`", "return due <= now or false"),
        (3, "without `due and due <= now`", "return false"),
        (3, "without `due <= now`", "return due or false"),
        (3, "`<=` becomes `<`", "return due and due < now or false"),
        (3, "the opposite of `due <= now`", "return due and due > now or false"),
        (3, "without `false`", "return due and due <= now"),
        (5, "without `is_late(KEYS[1], 2)`", "if not ARGV[1] then"),
        (5, "`if` false", "if false then"),
        (5, "`if` true", "if true then"),
        (5, "without `not ARGV[1]`", "if is_late(KEYS[1], 2) then"),
        (5, "the opposite of `not ARGV[1]`", "if is_late(KEYS[1], 2) and ARGV[1] then"),
        (6, "without `redis.call('DEL', 'a == b')`", ""),
        (7, "`elseif` false", "elseif false then"),
        (7, "`elseif` true", "elseif true then"),
        (8, "`math.max` becomes `math.min`", last.replace("max", "min")),
        (8, "`while` false", "while false do break end"),
        (8, "`>` becomes `>=`", last.replace(">", ">=")),
        (8, "without `break`", last.replace("break", "")),
    ]


def test_the_mutants_of_a_module() -> None:
    assert changes(MODULE, mutants_of("a.py", MODULE, python.edits)) == [
        (2, "becomes `due is None`", "if (due is None) and (due <= now - 1):"),
        (2, "`if` False for `due is not None and due <= now - 1`", "if False:"),
        (2, "`if` True for `due is not None and due <= now - 1`", "if True:"),
        (2, "without `due <= now - 1`", "if (due is not None):"),
        (2, "without `due is not None`", "if (due <= now - 1):"),
        (2, "becomes `due < now - 1`", "if due is not None and ((due < now - 1)):"),
        (2, "becomes `due > now - 1`", "if due is not None and ((due > now - 1)):"),
        (2, "becomes `now + 1`", "if due is not None and (due <= (now + 1)):"),
        (2, "`1` becomes `2`", "if due is not None and (due <= now - 2):"),
        (4, "without `raise ValueError(f'{due < now}')`", "pass"),
        (5, "becomes `due`", "return (due)"),
    ]


@pytest.mark.parametrize("pattern", targets.MODULES)
def test_each_target_exists(pattern: str) -> None:
    assert list(ROOT.glob(pattern))


@pytest.mark.parametrize("file", targets.files())
def test_each_mutant_compiles(file: str) -> None:
    text = (ROOT / file).read_text()
    runtime = LuaRuntime()
    for mutant in targets.mutants(file):
        changed = mutant.apply(text)
        assert changed != text
        if file.endswith(".lua"):
            assert not runtime.eval("function(s) return select(2, loadstring(s)) end")(changed)
        else:
            compile(changed, file, "exec")


def test_a_mutant_keeps_its_name_while_lines_move() -> None:
    before = mutants_of("a.lua", SCRIPT, lua.edits)
    after = mutants_of("a.lua", "-- one more line\n" + SCRIPT, lua.edits)
    assert [each.name for each in before] == [each.name for each in after]
    assert len({each.name for each in before}) == len(before)


def test_changes_that_are_alike_on_equal_lines_are_numbered() -> None:
    script = "redis.call('GET')\n" * 2
    assert [each.change for each in mutants_of("a.lua", script, lua.edits)] == [
        "without `redis.call('GET')`",
        "without `redis.call('GET')` (2)",
    ]


def test_each_explained_mutant_exists() -> None:
    reasons = explained.read(explained.FILE.read_text())
    assert explained.stale(reasons, targets.all_mutants()) == []


def test_an_explanation_without_a_mutant_is_stale() -> None:
    text = """
    [[survivor]]
    file = "a.lua"
    code = "return due and due <= now or false"
    change = "without `due`"
    reason = "r"
    """
    mutants = mutants_of("a.lua", SCRIPT, lua.edits)
    assert explained.stale(explained.read(text), mutants) == []
    others = explained.read(text.replace("or false", "or nil"))
    assert explained.stale(others, mutants) == list(others)
    with pytest.raises(ValueError, match="twice"):
        explained.read(text + text)
    with pytest.raises(ValueError, match="needed are"):
        explained.read(text.replace('reason = "r"', 'reason = ""'))


def test_a_run_tells_killed_mutants_from_survivors(tmp_path: Path) -> None:
    """test_due.py is about the clock in ms; nothing in it reads the µs on the same line."""
    outside = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "mutants", "--build", str(tmp_path), "--jobs", "1"),
            *("--tests", "tests/contract/test_due.py", "--only", "clock.lua:12"),
        ],
        cwd=ROOT,
        env={**outside, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    rows = [row.split("]", 1)[1].split() for row in run.stdout.splitlines() if row.startswith("[")]
    assert [row[0] for row in rows] == ["survived", "survived", "killed", "killed", "killed"]
    assert {row[-1].partition("::")[0] for row in rows if row[0] == "killed"} == {
        "tests/contract/test_due.py"
    }
    assert "3 killed, 2 survived" in run.stdout
    assert not list(tmp_path.glob("trees-*"))
