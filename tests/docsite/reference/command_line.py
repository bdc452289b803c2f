"""The command: of click's declarations."""

import inspect
from typing import Final

import click

from docsite.reference.markdown import code, table
from millstream.cli.main import main

PAGE: Final = """\
# Command line

`millstream` starts processes and shows what they do. Each command has `--help`. Exit status: 0 if all is well, 1 if
something is wrong, 2 for invalid arguments.

"""


def page() -> str:
    """Returns the page: each command with its arguments and options."""
    parts = [PAGE]
    for path, command in commands(main, "millstream"):
        context = click.Context(command, info_name=path)
        usage = command.collect_usage_pieces(context)
        help_text = inspect.cleandoc(command.help or command.short_help or "")
        records = [
            record
            for parameter in command.get_params(context)
            if (record := parameter.get_help_record(context))
        ]
        parts.append(f"## `{path}`\n\n{help_text}\n\n")
        parts.append(f"```text\n{' '.join([path, *usage])}\n```\n\n")
        parts.append(
            table(["Option", "Meaning"], [(code(option), _text(note)) for option, note in records])
        )
    return "".join(parts)


def commands(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    """Returns the command and all commands below it, each with the words that call it."""
    result = [(path, command)]
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            result += commands(inner, f"{path} {name}")
    return result


def _text(note: str) -> str:
    return " ".join(note.split())
