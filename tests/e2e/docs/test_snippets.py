"""Every code block of the documents is run, checked, or has a reason that holds."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Final

import msgspec
import pytest

from conftest import System
from e2e.docs.snippets import (
    DOCUMENTED_URL,
    PROSE,
    Interpreter,
    Runner,
    Snippet,
    assert_output,
    check_json,
    invalid_commands,
    needing_a_reason,
    snippets,
    unexcused,
)
from house.tree import ROOT

QUICKSTART: Final = ROOT / "docs" / "quickstart.md"
RUN: Final = frozenset({"python", "js", "sh", "json", "yaml"})
START_SECONDS: Final = 60.0
PAGES: Final = {
    page.relative_to(ROOT).as_posix(): page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/*/*.md"))
    if "node_modules" not in page.parts and snippets(page)
}
pytestmark = pytest.mark.xdist_group("site")


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    """The process that runs snippets in Python."""
    process = Interpreter()
    yield process
    process.close()


def test_every_block_names_its_language_and_every_reason_holds() -> None:
    wrong = []
    for snippet in (each for page in PAGES.values() for each in snippets(page)):
        if snippet.language not in PROSE | RUN and not snippet.excuse:
            wrong.append(f"{snippet.where}: {snippet.language or 'no language'}")
        if snippet.excuse:
            wrong += [f"{snippet.where}: {problem}" for problem in unexcused(snippet)]
        if snippet.language == "sh":
            wrong += invalid_commands(snippet) + needing_a_reason(snippet)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<!-- not run: keeps running -->\n```sh\ncurl -s x\n```\n", "'curl -s x' is none"),
        ("<!-- not run: too long -->\n```sh\nmake dev\n```\n", "unknown reason"),
        ("<!-- not run: keeps running -->\n```python\nx = 1\n```\n", "python can be run"),
        ("<!-- not run: keeps running, needs a cluster -->\n```sh\nmake dev\n```\n", "nothing is"),
        ("<!-- not run: part of Makefile -->\n```js\nno such line\n```\n", "is not in Makefile"),
    ],
)
def test_a_reason_that_does_not_hold_is_reported(text: str, problem: str) -> None:
    page = ROOT / "build" / "excuse.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(text)
    [snippet] = snippets(page)
    page.unlink()
    assert problem in "\n".join(unexcused(snippet))


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        ("a\n", "a\n\n", True),
        ("a", "b", False),
        ("run …, attempt 1", "run 12, attempt 1", True),
        ("run …", "run\n12", False),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a\n…\nd", "a\nb\nc", False),
        ("a.c", "abc", False),
    ],
)
def test_a_placeholder_stands_for_the_rest_of_a_line_or_for_lines(
    expected: str, printed: str, fits: bool
) -> None:
    snippet = Snippet("x.md:1", "text", "Output", expected)
    with nullcontext() if fits else pytest.raises(AssertionError):
        assert_output(snippet, expected, printed)


@pytest.mark.parametrize(
    "code", ["{", '{"graphs": {"a": 1}}', '{"http": {"colour": 1}}', '{"a": 1}\n{"b": \n']
)
def test_invalid_json_is_reported(code: str) -> None:
    with pytest.raises((msgspec.DecodeError, msgspec.ValidationError)):
        check_json(Snippet("x.md:1", "json", "", code))


def test_an_option_that_does_not_exist_is_reported() -> None:
    snippet = Snippet("x.md:1", "sh", "", "cd a && millstream worker --colour red\n")
    [problem] = invalid_commands(snippet)
    assert problem.startswith("x.md:1: millstream worker --colour red: No such option")
    assert not invalid_commands(Snippet("x.md:1", "sh", "", "millstream dev --port 2025  # x\n"))


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page != QUICKSTART])
@pytest.mark.usefixtures("node_modules")
async def test_the_snippets_run(
    name: str, system: System, interpreter: Interpreter, tmp_path: Path
) -> None:
    runner = Runner(system.url, tmp_path, interpreter)
    for snippet in snippets(PAGES[name]):
        if not snippet.excuse:
            await runner.run(snippet)


@pytest.mark.usefixtures("node_modules")
async def test_the_quickstart_leads_from_an_empty_folder_to_tokens(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    runner = Runner(DOCUMENTED_URL, tmp_path, interpreter)
    before: list[Snippet] = []
    after: list[Snippet] = []
    for snippet in snippets(QUICKSTART):
        (after if after or snippet.excuse == "keeps running" else before).append(snippet)
    for snippet in before:
        if not snippet.excuse:
            await runner.run(snippet)
    assert after[0].code == "millstream dev\n"
    async with dev_server(runner.folder) as (url, printed):
        runner.url, runner.printed = url, [printed]
        for snippet in after[1:]:
            if not snippet.excuse:
                await runner.run(snippet)


@asynccontextmanager
async def dev_server(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Runs `millstream dev` in a folder; gives its URL and what it prints until it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("millstream")), "dev", "--port", str(port),
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    printed = ""
    try:
        async with asyncio.timeout(START_SECONDS):
            while "Ctrl-C" not in printed:
                line = await process.stdout.readline()
                assert line, printed
                printed += line.decode()
        yield f"http://127.0.0.1:{port}", printed
    finally:
        process.terminate()
        await process.communicate()
