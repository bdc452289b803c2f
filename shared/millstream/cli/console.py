"""Writes the lines of several processes to one terminal, each with the name of its process."""

import os
import threading
from typing import Final

import click

_COLOURS: Final = {"api": "blue", "dev": "cyan"}


class Console:
    """A terminal that threads share: lines never mix, and colour appears only on a TTY."""

    def __init__(self, *, width: int = 6) -> None:
        """`width` is that of the longest name."""
        self._width = width
        self._lock = threading.Lock()
        # None lets click decide by looking whether the stream is a TTY.
        self._color = False if os.environ.get("NO_COLOR") else None

    def line(self, name: str, text: str, *, err: bool = False) -> None:
        """Writes one line of the process `name`, to stderr if `err`."""
        prefix = click.style(f"{name:<{self._width}} │ ", fg=_COLOURS.get(name, "green"))
        self.block(prefix + text, err=err)

    def block(self, text: str, *, err: bool = False) -> None:
        """Writes text of one or more lines as it is, to stderr if `err`."""
        with self._lock:
            click.echo(text, err=err, color=self._color)
