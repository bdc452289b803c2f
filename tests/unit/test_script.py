"""A script's header declares its names, and a call must pass each of them."""

from typing import Any

import pytest

from millstream.shared.scripts import script
from millstream.shared.scripts.script import Script

HEADER = """--[[
  A script.

  KEY  one    hash
  KEYS firsts
  KEYS lasts  KEYS in a description are not declared,
              KEYS neither in its second line
  ARG  word
  ARGS early
  ARGS late

  Returns everything. ARG none
]]
"""
ARGUMENTS: dict[str, Any] = {
    "one": "k1", "firsts": ["f1", "f2"], "lasts": ["l1"],
    "word": 7, "early": ["e1"], "late": ["x", "y"],
}  # fmt: skip


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A function that writes a .lua file into the folder of the scripts."""
    (tmp_path / "parts").mkdir()
    monkeypatch.setattr(script, "files", lambda _: tmp_path)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.lua").write_text(text)

    return write


def test_scalars_precede_lists_and_all_lists_but_the_last_have_a_count(source: Any) -> None:
    source("given", HEADER)
    values = Script("given").pack(ARGUMENTS)
    assert values == [4, "k1", "f1", "f2", "l1", 7, 2, 1, "e1", "x", "y"]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_missing_name_raises(source: Any, name: str) -> None:
    source("given", HEADER)
    with pytest.raises(TypeError, match=rf"given.lua: missing \['{name}'\], unknown \[\]"):
        Script("given").pack({key: value for key, value in ARGUMENTS.items() if key != name})


def test_an_unknown_name_raises(source: Any) -> None:
    source("given", HEADER)
    with pytest.raises(TypeError, match=r"missing \[\], unknown \['none'\]"):
        Script("given").pack({**ARGUMENTS, "none": 1})


@pytest.mark.parametrize("name", ["firsts", "lasts", "early", "late"])
@pytest.mark.parametrize(
    "value", ["abc", b"abc", 7, None, {"a": 1}.keys()], ids=lambda value: type(value).__name__
)
def test_a_string_is_no_list(source: Any, name: str, value: Any) -> None:
    source("given", HEADER)
    with pytest.raises(TypeError):
        Script("given").pack({**ARGUMENTS, name: value})


def test_a_part_declares_its_names_once(source: Any) -> None:
    source("parts/low", "--[[\n  KEY  run\n]]\nlocal function low() return run end\n")
    source("parts/high", "--[[\n  KEY  run\n  ARG  fence\n]]\n-- with low\n-- high\n")
    source("both", "--[[\n  ARG  job\n]]\n-- with low\n-- with high\nreturn low()\n")
    both = Script("both")
    assert dict(both.names) == {"job": "ARG", "run": "KEY", "fence": "ARG"}
    assert both.source.count("local function low") == 1


def test_a_name_has_one_type(source: Any) -> None:
    source("parts/other", "--[[\n  ARG  run\n]]\n")
    source("mixed", "--[[\n  KEY  run\n]]\n-- with other\n")
    with pytest.raises(ValueError, match=r"mixed.lua declares run as ARG and as KEY"):
        Script("mixed")


def test_a_script_without_names_has_no_locals(source: Any) -> None:
    source("bare", "--[[\n  Returns 1.\n]]\nreturn 1\n")
    assert Script("bare").source == "--[[\n  Returns 1.\n]]\nreturn 1\n"
    assert Script("bare").pack({}) == [0]


def test_line_numbers_of_a_script_are_preserved(source: Any) -> None:
    source("given", HEADER)
    assert Script("given").source.count("\n") == HEADER.count("\n")
