"""The code blocks of a page: found, classified and run.

A comment above a block says how it is treated:

    <!-- not run: keeps running -->     it can't run here; REASONS says what each reason may be used for
    <!-- with: import asyncio -->       Python that runs before it, for names that the block only uses

A block ```text title="Output" holds what the block or the blocks before it print; `…` stands for anything.
"""

import asyncio
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import msgspec
from click.exceptions import Exit

from e2e import node
from house.tree import ROOT
from millstream.cli.main import main
from millstream.shared.langgraph_json.config import ProjectConfig

DOCUMENTED_URL: Final = "http://127.0.0.1:2024"
BLOCK: Final = re.compile(
    r"(?:^ *<!-- (?P<how>not run|with): (?P<text>.*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
# Languages that are not code.
PROSE: Final = frozenset({"text", "mermaid", "markdown"})
# reason → what each command must be that is not run because of it
REASONS: Final = {
    "installs packages": r"pip install|npm (ci|install)|npx |make install|pnpm ",
    "keeps running": r"([A-Z_]+=\S+ )*(millstream (dev|api|worker)|make (dev|docs)|npm start|phoenix serve)\b",
    "for a checkout": r"(\S+=\S+ )*(make |git |cd |\.venv/bin/|python3 -m venv|build/try/)",
    "needs a deployment": r"(\S+=\S+ )*millstream (doctor|status|runs|queues|workers|keys)\b",
    "needs a cluster": r"(\S+=\S+ )*(kubectl|helm|docker|redis-cli) ",
}
COMMANDS: Final = re.compile(r"(?:\s&&\s|\s;\s|\n)")


@dataclass(frozen=True, slots=True)
class Snippet:
    """One code block.

    Attributes:
        where: page and line.
        excuse: why it is not run; empty if it is.
        before: Python that runs before it.
    """

    where: str
    language: str
    title: str
    code: str
    excuse: str = ""
    before: str = ""

    @property
    def is_output(self) -> bool:
        """Whether it shows what other blocks print."""
        return self.title == "Output"

    def commands(self) -> list[str]:
        """Returns the commands of a shell snippet, without comments and here-documents."""
        lines = re.sub(r"\\\n\s*", "", self.code)
        lines = re.sub(r"(<<'(\w+)')\n.*?^\2$", r"\1", lines, flags=re.MULTILINE | re.DOTALL)
        lines = re.sub(r"(^|\s)#.*", "", lines)
        return [part.strip() for part in COMMANDS.split(lines) if part.strip()]


def snippets(page: Path) -> list[Snippet]:
    """Returns the code blocks of a page, in order."""
    text = page.read_text("utf-8")
    blocks = []
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("code"))
        code = inspect.cleandoc(block["code"]) + "\n" if block["indent"] else block["code"]
        how = {block["how"]: block["text"]}
        blocks.append(
            Snippet(
                f"{page.relative_to(ROOT)}:{line}",
                block["language"],
                block["title"] or "",
                code,
                how.get("not run", ""),
                how.get("with", ""),
            )
        )
    return blocks


class Interpreter:
    """The process that runs snippets in Python (interpreter.py)."""

    def __init__(self) -> None:
        """Starts it."""
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(Path(__file__).with_name("interpreter.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, name: str, code: str) -> str:
        """Returns what the code prints. Fails with its traceback."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"name": name, "code": code}) + "\n")
        self._process.stdin.flush()
        response = json.loads(self._process.stdout.readline())
        assert not response["error"], response["error"]
        return str(response["printed"])

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=10)


@dataclass
class Runner:
    """Runs the snippets of one page, one after the other, in a folder of their own.

    Attributes:
        url: the server that stands for the documented one.
        folder: the working directory, of which a snippet may choose another (`cd`).
    """

    url: str
    folder: Path
    interpreter: Interpreter
    printed: list[str] = field(default_factory=list)

    async def run(self, snippet: Snippet) -> None:
        """Runs or checks a snippet. Fails if it fails, or if its output is not the documented one."""
        code = snippet.code.replace(DOCUMENTED_URL, self.url)
        if snippet.is_output:
            assert self.printed, f"{snippet.where}: nothing was run that prints this"
            for printed in [*filter(None, self.printed[:-1]), self.printed[-1]]:
                assert_output(snippet, code, printed)
            self.printed = []
        match snippet.language:
            case "python":
                before = snippet.before.replace(DOCUMENTED_URL, self.url).split("; ")
                text = "\n".join([*before, code])
                printed = await asyncio.to_thread(self.interpreter.run, snippet.where, text)
                self.printed.append(printed)
            case "js":
                self.printed.append(await self._process(snippet, "node", code))
            case "sh":
                self.printed.append(await self._process(snippet, "bash", code))
            case "json":
                check_json(snippet)
            case "yaml":
                check_yaml(snippet)

    async def _process(self, snippet: Snippet, program: str, code: str) -> str:
        assert program == "node" or not (forms := needing_a_reason(snippet)), forms
        if program == "node":  # packages are looked up from the working directory
            command, folder = ["node", "--input-type=module", "--eval", code], node.JS
        else:
            mark = '\necho "__PWD__$PWD"'
            command, folder = ["bash", "-euo", "pipefail", "-c", code + mark], self.folder
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            # as in an activated environment, where `millstream` is
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
        text, _, last = out.decode().replace("\r\n", "\n").partition("__PWD__")
        assert process.returncode == 0, f"{snippet.where}: {errors.decode()}"
        if last:
            self.folder = Path(last.strip())
        return text


def assert_output(snippet: Snippet, expected: str, printed: str) -> None:
    """Fails if the text differs from the documented one. `…` is any text of a line; alone, any lines."""
    lines = [
        r"(?:.*\n)*?.*" if line == "…" else re.escape(line).replace("…", ".*")
        for line in expected.strip().split("\n")
    ]
    assert re.fullmatch("\n".join(lines), printed.strip()), f"{snippet.where}:\n{printed}"


def check_json(snippet: Snippet) -> None:
    """Parses JSON, or lines of JSON, and reads it as a langgraph.json if it has one of its keys."""
    if re.match(r"\{.*\}\n\{", snippet.code):
        msgspec.json.Decoder().decode_lines(snippet.code)
        return
    content = msgspec.json.decode(snippet.code)
    if isinstance(content, dict) and content.keys() & set(ProjectConfig.__struct_fields__):
        msgspec.convert({"graphs": {"agent": "./agent.py:graph"}, **content}, ProjectConfig)


def check_yaml(snippet: Snippet) -> None:
    """Parses YAML."""
    import yaml  # of the tools

    assert yaml.safe_load(snippet.code) is not None, snippet.where


def unexcused(snippet: Snippet) -> list[str]:
    """Returns what is wrong with a reason for not running a snippet."""
    if origin := re.fullmatch(r"part of (\S+)", snippet.excuse):
        lines = {line.strip() for line in (ROOT / origin[1]).read_text("utf-8").splitlines()}
        return [
            f"{line!r} is not in {origin[1]}"
            for line in map(str.strip, snippet.code.splitlines())
            if line and line not in lines
        ]
    reasons = snippet.excuse.split(", ")
    if unknown := [reason for reason in reasons if reason not in REASONS]:
        return [f"unknown reason {reason!r}" for reason in unknown]
    if snippet.language != "sh":
        return [f"{snippet.language} can be run, or is `part of` a file"]
    patterns = [re.compile(REASONS[reason]) for reason in reasons]
    wrong = [
        f"{command!r} is none of these"
        for command in snippet.commands()
        if not any(pattern.match(command) for pattern in patterns)
    ]
    return wrong + [
        f"nothing is {reason!r}"
        for reason, pattern in zip(reasons, patterns, strict=True)
        if not any(pattern.match(command) for command in snippet.commands())
    ]


def needing_a_reason(snippet: Snippet) -> list[str]:
    """Returns the commands of a shell snippet that a test must not run."""
    if snippet.language != "sh" or snippet.excuse:
        return []
    return [
        f"{snippet.where}: {command!r} is {reason!r}"
        for command in snippet.commands()
        for reason, pattern in REASONS.items()
        if re.match(pattern, command) and not command.startswith("cd ")
    ]


def invalid_commands(snippet: Snippet) -> list[str]:
    """Returns the calls of `millstream` in a shell snippet whose command or options do not exist."""
    wrong = []
    for line in snippet.commands():
        call = re.search(r"(?:^|\s)millstream (.*)$", line)
        if call is None or re.match(REASONS["needs a cluster"], line):  # there it may be a name
            continue
        call_arguments = shlex.split(call[1].partition(" | ")[0])
        try:
            context = main.make_context("millstream", call_arguments)
            while isinstance(context.command, click.Group):
                name, command, rest = context.command.resolve_command(
                    context, context._protected_args + context.args
                )
                assert command is not None
                context = command.make_context(name, rest, parent=context)
        except Exit:  # --help, --version
            pass
        except click.ClickException as error:
            wrong.append(f"{snippet.where}: {line}: {error.message}")
    return wrong
