"""Each script uses exactly the names that it declares."""

import re
from pathlib import Path

import pytest

from millstream.shared.scripts.script import Script

SCRIPTS = Path(__file__).parents[2] / "shared/millstream/shared/scripts"
FILES = sorted(SCRIPTS.rglob("*.lua"))
PARTS = [path.stem for path in FILES if path.parent.name == "parts"]
NAMES = [
    path.relative_to(SCRIPTS).with_suffix("").as_posix()
    for path in FILES
    if path.parent.name != "parts"
]
COMMENT = re.compile(r"--\[\[.*?\]\]|--[^\n]*", re.DOTALL)
STRING = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
DECLARED = re.compile(r"^  (?:KEYS?|ARGS?) +(\w+)", re.MULTILINE)
BOUND = re.compile(
    r"\blocal (?!function)([\w, \n]+)|\bfor ([\w, ]+) (?:=|in)|function ?\w*\(([\w, ]*)\)"
)
RESERVED = {
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
}  # fmt: skip
GLOBALS = {
    "cjson", "error", "ipairs", "math", "next", "pairs", "redis", "string", "table", "tonumber",
    "tostring", "type", "unpack",
}  # fmt: skip


def code(text: str) -> str:
    """Returns the Lua without comments and string literals."""
    return STRING.sub("''", COMMENT.sub("", text))


def declared(path: Path) -> list[str]:
    header = path.read_text().partition("]]")[0]
    return DECLARED.findall(header)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_script_body_uses_positions(path: Path) -> None:
    assert not re.search(r"\b(KEYS|ARGV)\b", code(path.read_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_script_uses_each_declared_name_with_one_meaning(
    path: Path,
) -> None:
    body = code(path.read_text())
    used = set(re.findall(r"(?<![.\w])\w+", body))
    assert set(declared(path)) <= used
    assert not set(declared(path)) & (RESERVED | GLOBALS)
    if path.parent.name != "parts":  # a part's functions have their own parameters
        bound = {
            identifier
            for binding in BOUND.findall(body)
            for identifier in re.findall(r"\w+", " ".join(binding))
        }
        assert not set(declared(path)) & bound - _inner(path)


def _inner(path: Path) -> set[str]:
    """Returns the parameters of a script's own functions, which may have the name of a declared key."""
    text = code(path.read_text())
    return {
        identifier
        for names in re.findall(r"function \w*\(([\w, ]*)\)", text)
        for identifier in re.findall(r"\w+", names)
    }


@pytest.mark.parametrize("name", NAMES)
def test_each_script_has_a_typed_function_and_a_contract(name: str) -> None:
    text = (SCRIPTS / f"{name}.lua").read_text()
    header = text.partition("]]")[0]
    assert text.startswith("--[[")
    assert "Returns" in header
    assert (SCRIPTS / f"{name}.py").exists()
    assert Script(name).names


@pytest.mark.parametrize("name", NAMES)
def test_a_script_reads_only_declared_names(name: str) -> None:
    """Redis would report an undeclared variable only when it executes the line."""
    script = Script(name)
    body = code(
        script.source[script.source.index("--[[") :]
    )  # behind the locals that the loader makes
    functions = set(re.findall(r"\blocal function (\w+)", body))
    bound = {
        identifier
        for binding in BOUND.findall(body)
        for identifier in re.findall(r"\w+", " ".join(binding))
    }
    fields = set(re.findall(r"[{,]\s*(\w+) = ", body))
    used = set(re.findall(r"(?<![.:\w])[A-Za-z_]\w*", body))
    assert used <= bound | functions | fields | RESERVED | GLOBALS | script.names.keys()


@pytest.mark.parametrize("name", PARTS)
def test_each_part_is_used(name: str) -> None:
    assert [path for path in FILES if f"\n-- with {name}\n" in path.read_text()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_script_builds_a_key(path: Path) -> None:
    assert "ms:" not in path.read_text().split("]]\n", 1)[-1]
