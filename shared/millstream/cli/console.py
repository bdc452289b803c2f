"""Writes the lines of several processes to one terminal, each after the name of its process."""

import os
import threading
from typing import Final

import click

_COLOURS: Final = {"api": "blue", "dev": "cyan"}


class Console:
    """A terminal that threads share: lines never mix, and colours are written only to a TTY."""

    def __init__(self, *, width: int = 6) -> None:
        """`width` is the length of the longest name."""
        self._width = width
        self._lock = threading.Lock()
        # None: click checks whether the stream is a TTY.
        self._color = False if os.environ.get("NO_COLOR") else None

    def line(self, name: str, text: str, *, err: bool = False) -> None:
        """Writes a line of the process `name`, to stderr if `err`."""
        prefix = click.style(f"{name:<{self._width}} │ ", fg=_COLOURS.get(name, "green"))
        self.block(prefix + text, err=err)

    def block(self, text: str, *, err: bool = False) -> None:
        """Writes text without a name, to stderr if `err`."""
        with self._lock:
            click.echo(text, err=err, color=self._color)
