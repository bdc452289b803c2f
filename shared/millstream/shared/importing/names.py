"""Paths as names of modules, and back: `./src/my-agent.py` is `millstream_project.src.my_x2d_agent`.

A path is taken relative to the folder of langgraph.json, so that a name is the same on every machine. All names lie
below one top-level name that nothing else has. See docs/decisions/0027.
"""

import os
import re
import unicodedata
from pathlib import Path
from typing import Final

RESERVED: Final = "millstream_project"
UP: Final = "_x_"  # `..`; no other part of a path is escaped to it
# `_x` stands in an escaped name only where an escape begins.
_ESCAPED: Final = re.compile(r"_(?=x)|[^A-Za-z0-9_]|^[0-9]")
_ESCAPE: Final = re.compile("_x([0-9a-f]+)_")


def escape(part: str) -> str:
    """Returns an identifier for a part of a path; no two parts have the same."""
    if part == "..":
        return UP
    # Systems differ in how they store accents.
    normal = unicodedata.normalize("NFC", part)
    return _ESCAPED.sub(lambda found: f"_x{ord(found[0]):x}_", normal)


def unescape(name: str) -> str:
    """Returns the part of a path that `name` stands for."""
    return ".." if name == UP else _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)


def reserved_name(path: Path, folder: Path) -> str:
    """Returns the name of a folder, or of a file given without its suffix."""
    parts = Path(os.path.relpath(path, folder)).parts
    return ".".join([RESERVED, *map(escape, parts)])


def reserved_path(name: str, folder: Path) -> Path:
    """Returns the path that a name below RESERVED stands for; it need not exist."""
    path = folder
    for part in map(unescape, name.split(".")[1:]):
        path = path.parent if part == ".." else _child(path, part)
    return path


def _child(folder: Path, name: str) -> Path:
    """Returns the entry of the folder, also if the system spells its accents in another way."""
    if not name.isascii() and folder.is_dir():
        for entry in os.listdir(folder):
            plain = unicodedata.normalize("NFC", entry)
            if plain == name or plain == f"{name}.py":
                return folder / (entry.removesuffix(".py") if plain != name else entry)
    return folder / name
