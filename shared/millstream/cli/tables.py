"""Output of the operator's commands: for a terminal, or for a pipe without colours and with one line for each row."""

import os
import sys
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH: Final = 10_000  # characters of a line in a pipe, where nothing is wrapped


def terminal() -> Console:
    """Returns the console on stdout."""
    return Console(
        file=sys.stdout,
        width=None if sys.stdout.isatty() else PIPE_WIDTH,
        no_color=bool(os.environ.get("NO_COLOR")) or None,
        highlight=False,
        emoji=False,
        markup=False,
    )


def plain(text: object, style: str = "") -> Text:
    """Returns a text that can't control the terminal, whatever Redis has: unprintable characters become `?`."""
    printed = "".join(each if each.isprintable() else "?" for each in str(text))
    return Text(printed, style=style)


def new_table(*columns: str) -> Table:
    """Returns a table without lines, with these columns."""
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for name in columns:
        table.add_column(name)
    return table


def age(seconds: float) -> str:
    """Returns a time in its largest unit, such as `3m`; '' for 0."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.1f}s" if seconds else ""
