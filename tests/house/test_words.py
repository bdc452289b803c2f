"""Names and prose use the words of docs/glossary.md and none that the project has retired."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from house.retired_words import CLASSES, FIELDS, NAMES, PHRASES, WHOLE_NAMES
from house.tree import ROOT, tracked

LISTS: Final = (
    "tests/house/retired_words.py",
    "tests/house/test_words.py",
)  # hold the words themselves
MAX_WORDS: Final = 30  # in the glossary: a reader learns them in one sitting
FILES: Final = (
    *("*.py", "*.lua", "*.js", "*.jsx", "*.mjs", "*.md", "*.toml", "*.yaml"),
    *("*Dockerfile", "*.conf", "*.cfg", "*Caddyfile", "Makefile"),
)


class Text(NamedTuple):
    """A name or a piece of prose, and the line on which it begins."""

    line: int
    text: str


class Rule(NamedTuple):
    """A retired word and what to write instead."""

    word: re.Pattern[str]
    instead: str


def rules(form: str, words: dict[str, str], flags: int = 0) -> list[Rule]:
    """Returns a rule for each word; `form` has a place for it."""
    return [Rule(re.compile(form.format(word), flags), use) for word, use in words.items()]


OF_NAMES: Final = rules(r"(?:^|_)(?:{})(?=_|$)", NAMES) + rules(r"^_*(?:{})_*$", WHOLE_NAMES)
OF_CLASSES: Final = rules(r"^_?{}$", CLASSES)
OF_FIELDS: Final = rules(r"^(?:{})$", FIELDS)
OF_PROSE: Final = rules(
    r"\b(?:{})\b", {word.replace(" ", r"\s+"): use for word, use in PHRASES.items()}, re.IGNORECASE
)
LUA_COMMENT: Final = re.compile(r"--\[\[(.*?)\]\]|--([^\n]*)", re.DOTALL)
LUA_NAMES: Final = re.compile(
    r"\blocal (?!function)([\w, \n]+?)(?==|$)|\bfor ([\w, ]+) (?:=|in)\b"
    r"|\bfunction ?(\w*)\(([\w, ]*)\)|^  (?:KEYS?|ARGS?) +(\w+)",
    re.MULTILINE,
)
HASH_METHOD: Final = re.compile(r"h(?:get|set|mget|mset|del|exists|incrby|setnx)$")
HASH_COMMAND: Final = re.compile(r"redis\.call\('H\w+',((?:[^()]|\([^()]*\))*)\)")
LINE_COMMENT: Final = re.compile(r"(?:^|[ \t])(?:#|//)+\s(.*)$", re.MULTILINE)
FENCED: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
CODE_OR_TARGET: Final = re.compile(r"`[^`]*`|\]\([^)]*\)|https?://\S+")


def line_of(text: str, offset: int) -> int:
    """Returns the number of the line, from 1."""
    return text.count("\n", 0, offset) + 1


def nodes_of(tree: ast.Module) -> list[ast.AST]:
    """Returns all nodes, as `ast.walk` does in three times the time."""
    nodes: list[ast.AST] = [tree]
    for node in nodes:
        for value in vars(node).values():
            if isinstance(value, ast.AST):
                nodes.append(value)
            elif isinstance(value, list):
                nodes.extend(each for each in value if isinstance(each, ast.AST))
    return nodes


def python_names(nodes: list[ast.AST]) -> Iterator[Text]:
    """Yields the names that a module defines. Those that it uses are defined here too, or in a library."""
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield Text(node.lineno, node.name)
            case ast.arg():
                yield Text(node.lineno, node.arg)
            case ast.Name(ctx=ast.Store()):
                yield Text(node.lineno, node.id)
            case ast.Attribute(ctx=ast.Store()):
                yield Text(node.lineno, node.attr)
            case ast.alias(asname=str(name)):
                yield Text(node.lineno, name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield Text(node.lineno, name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield Text(node.lineno, name)


def python_prose(text: str, nodes: list[ast.AST]) -> Iterator[Text]:
    """Yields docstrings, those of attributes too, and comments; lines of comment in a row are one text."""
    for node in nodes:
        match node:
            case ast.Expr(value=ast.Constant(value=str(docstring))):
                yield Text(node.lineno, docstring)
    row: list[Text] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row.append(Text(token.start[0], token.string.lstrip("# ")))
        elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT) and row:
            yield Text(row[0].line, "\n".join(comment.text for comment in row))
            row = []


def python_fields(nodes: list[ast.AST]) -> Iterator[Text]:
    """Yields the texts that are arguments of a command on a hash: fields, and values that do no harm."""
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(attr=command)) if HASH_METHOD.match(command):
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield Text(part.lineno, part.value)


def lua_names(text: str) -> Iterator[Text]:
    """Yields locals, functions, parameters, and the keys and arguments that a header declares."""
    for match in LUA_NAMES.finditer(text):
        for name in re.findall(r"[a-zA-Z_]\w*", " ".join(filter(None, match.groups()))):
            yield Text(line_of(text, match.start()), name)


def lua_fields(text: str) -> Iterator[Text]:
    """Yields the fields that commands on hashes name."""
    for call in HASH_COMMAND.finditer(text):
        for field in re.finditer(r"'([^'\n]*)'", call[1]):
            yield Text(line_of(text, call.start(1) + field.start()), field[1])


def comments(pattern: re.Pattern[str], text: str) -> Iterator[Text]:
    """Yields what the pattern's groups hold of each comment."""
    for comment in pattern.finditer(text):
        yield Text(line_of(text, comment.start()), "".join(filter(None, comment.groups())))


def markdown_prose(text: str) -> str:
    """Returns the page without its code and its links' targets, but with its diagrams and text blocks."""

    def without(code: re.Match[str]) -> str:
        if code.re is FENCED and code[2] in ("mermaid", "text"):
            return f"\n{code[3]}"
        return "…" + "\n" * code[0].count("\n")

    return CODE_OR_TARGET.sub(without, FENCED.sub(without, text))


def retired(path: str, text: str) -> list[str]:
    """Returns a line `path:line: 'word': write …` for each retired word in a file."""
    stem = Text(1, Path(path).stem)
    names: list[Text] = []
    classes: list[Text] = []
    fields: list[Text] = []
    match Path(path).suffix:
        case ".py":
            nodes = nodes_of(ast.parse(text))
            names, prose = [stem, *python_names(nodes)], list(python_prose(text, nodes))
            fields = list(python_fields(nodes))
            classes = [Text(n.lineno, n.name) for n in nodes if isinstance(n, ast.ClassDef)]
        case ".lua":
            names, prose = [stem, *lua_names(text)], list(comments(LUA_COMMENT, text))
            fields = list(lua_fields(text))
        case ".md":
            prose = [Text(1, markdown_prose(text))]
        case _:
            prose = list(comments(LINE_COMMENT, text))
    snakes = [Text(n.line, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", n.text).lower()) for n in names]
    problems = {
        (piece.line + piece.text.count("\n", 0, match.start()), match[0], rule.instead)
        for pieces, its_rules in (
            (snakes, OF_NAMES),
            (classes, OF_CLASSES),
            (fields, OF_FIELDS),
            (prose, OF_PROSE),
        )
        for piece in pieces
        for rule in its_rules
        for match in rule.word.finditer(piece.text)
    }
    return [f"{path}:{line}: {word!r}: write {use}" for line, word, use in sorted(problems)]


def test_no_retired_word_is_used() -> None:
    problems = []
    for path in tracked(*FILES):
        name = path.relative_to(ROOT).as_posix()
        if name not in LISTS:
            problems += retired(name, path.read_text())
    assert not problems, "\n".join(["", *problems])


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("told.py", "x = 1", 1),
        ("a.py", "\ndef f(asked_id: str) -> None: ...", 2),
        ("a.py", "\nclass WantedThings: ...", 2),
        ("a.py", "class Outcome: ...", 1),
        ("a.py", "class A:\n    lanes: int = 0\n    def __init__(self):\n        self.b = 1", 2),
        ("a.py", "def f(self):\n\n    self._found = 1", 3),
        ("a.py", "for word in (): ...", 1),
        ("a.py", "import os as own", 1),
        ("a.py", "match 1:\n    case given: ...", 2),
        ("a.py", "MOST_KEYS = 1", 1),
        ("a.py", "redis.hget(\n  run, 'settled')", 2),
        ("a.py", '"""A client\n\nwho leaves."""', 3),
        ("a.py", "x = 1\n# The stream goes\n# on.", 2),
        ("a.py", "x = 1  # what is asked for", 1),
        ("a.lua", "--[[\n  KEY  doorbell  channel\n]]", 2),
        ("a.lua", "\nlocal a, found = 1, 2", 2),
        ("a.lua", "local function f(told) end", 1),
        ("a.lua", "redis.call('HSET', run, 'status', f(x),\n  'settled', y)", 2),
        ("a.lua", "-- the client who left", 1),
        ("a.md", "# A\n\n- Redis is away.", 3),
        ("a.md", "```mermaid\nC->>A: comes back\n```", 2),
        ("a.md", "```text\na.py  what is shown\n```", 2),
        ("a.yaml", "a: 1\n\n# of so many", 3),
        ("a.jsx", "f() // it is told", 1),
    ],
)
def test_a_retired_word_is_found_on_its_line(path: str, text: str, line: int) -> None:
    problems = retired(path, text)
    assert problems
    for problem in problems:
        assert problem.startswith(f"{path}:{line}: ")
        assert "': write " in problem


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "NotFoundError = found_by_id = keyword = 1\nx.found()\nf(given=1)"),
        ("a.py", '"""A run whose worker dies."""\nx = "who"'),
        ("a.lua", "return {'unserved', settle_delivery}"),
        ("a.md", "Write `who`.\n\n```\nwho\n```\n[x](who.md)"),
    ],
)
def test_a_word_of_another_and_usual_english_stay(path: str, text: str) -> None:
    assert not retired(path, text)


def glossary() -> list[tuple[str, str, str]]:
    """Returns the rows of the glossary: word, meaning, path."""
    page = (ROOT / "docs/glossary.md").read_text()
    return re.findall(r"^\| ([a-z -]+) \| (.+) \| `(\S+)` \|$", page, re.MULTILINE)


def test_the_glossary_is_short_sorted_and_leads_to_the_code() -> None:
    words = [word for word, _, _ in glossary()]
    assert 0 < len(words) <= MAX_WORDS
    assert words == sorted(set(words))
    for word, meaning, path in glossary():
        side = path.partition("/")[0]
        assert (ROOT / side / "millstream" / path).is_file(), f"{word}: {path}"
        assert meaning.count(". ") <= 1, f"{word}: one meaning, in at most two sentences"
    page = (ROOT / "docs/glossary.md").read_text()
    assert page.count("\n| ") == len(words) + 1, "each row has a word, a meaning and a path"


def test_the_glossary_has_no_retired_word() -> None:
    for word, _, _ in glossary():
        assert not any(rule.word.search(word.replace(" ", "_")) for rule in OF_NAMES), word
