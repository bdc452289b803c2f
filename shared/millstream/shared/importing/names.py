"""Maps paths to names of modules and back: `./src/my-agent.py` is `millstream_project.src.my_x2d_agent`.

A name is built from the path relative to the folder of langgraph.json, so that it is the same on every machine. All
names are below one reserved top-level name. See docs/decisions/0027.
"""

import os
import re
import unicodedata
from pathlib import Path
from typing import Final

RESERVED: Final = "millstream_project"
UP: Final = "_x_"  # stands for `..`; no other part of a path is escaped to it
# In an escaped name `_x` always begins an escape.
_ESCAPED: Final = re.compile(r"_(?=x)|[^A-Za-z0-9_]|^[0-9]")
_ESCAPE: Final = re.compile("_x([0-9a-f]+)_")


def escape(part: str) -> str:
    """Returns an identifier for a part of a path; different parts get different identifiers."""
    if part == "..":
        return UP
    # Systems differ in the Unicode form in which they store accents.
    normal = unicodedata.normalize("NFC", part)
    return _ESCAPED.sub(lambda match: f"_x{ord(match[0]):x}_", normal)


def unescape(name: str) -> str:
    """Returns the part of a path that `name` was built from."""
    return ".." if name == UP else _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)


def reserved_name(path: Path, folder: Path) -> str:
    """Returns the name of a folder, or of a file whose path lacks the suffix."""
    parts = Path(os.path.relpath(path, folder)).parts
    return ".".join([RESERVED, *map(escape, parts)])


def reserved_path(name: str, folder: Path) -> Path:
    """Returns the path that a name below RESERVED was built from; the path may not exist."""
    path = folder
    for part in map(unescape, name.split(".")[1:]):
        path = path.parent if part == ".." else _child(path, part)
    return path


def _child(folder: Path, name: str) -> Path:
    """Returns the entry of the folder, even if the system stores its accents in another Unicode form."""
    if not name.isascii() and folder.is_dir():
        for entry in os.listdir(folder):
            normal = unicodedata.normalize("NFC", entry)
            if normal == name or normal == f"{name}.py":
                return folder / (entry.removesuffix(".py") if normal != name else entry)
    return folder / name
