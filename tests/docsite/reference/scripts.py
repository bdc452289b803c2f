"""The contracts of the Redis scripts: the headers of the .lua files."""

import re
from pathlib import Path
from typing import Final

from docsite.reference.markdown import code, table
from millstream.shared.scripts import script

PAGE: Final = """\
# Redis scripts

Every change of a run's or a thread's state is one of these scripts, so there is no moment in which half of it is
stored. The header of each .lua file is its contract: the keys and arguments that it takes, and its reply. A script
includes the names of the parts that it inserts (`parts/`); a caller passes all of them by name.

"""
FOLDER: Final = Path(script.__file__).parent
NAME: Final = re.compile(r"^  (KEYS?|ARGS?) +(\w+) *(.*(?:\n {4,}.*)*)", re.MULTILINE)


def page() -> str:
    """Returns the page: the scripts by subject, then their parts."""
    parts = [PAGE]
    folders = sorted({file.parent for file in FOLDER.glob("*/*.lua")}, key=_order)
    for folder in folders:
        parts.append(f"## {folder.name.capitalize()}\n\n")
        parts += [_script(file) for file in sorted(folder.glob("*.lua"))]
    return "".join(parts)


def _order(folder: Path) -> tuple[bool, str]:
    return folder.name == "parts", folder.name


def _script(file: Path) -> str:
    header = script.HEADER.search(file.read_text("utf-8"))
    assert header is not None, f"{file.name} has no header"
    text = header[0].removeprefix("--[[").removesuffix("]]").strip("\n")
    purpose, _, rest = text.partition("\n\n")
    rows = [(code(name), kind, note) for kind, name, note in NAME.findall(rest)]
    reply = NAME.sub("", rest).strip("\n")
    result = f"### `{file.parent.name}/{file.name}`\n\n{_joined(purpose)}\n\n"
    result += table(["Name", "Kind", ""], rows)
    if reply.strip():
        result += f"```text\n{_dedented(reply)}\n```\n\n"
    return result


def _joined(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines())


def _dedented(text: str) -> str:
    return "\n".join(line.removeprefix("  ") for line in text.splitlines()).strip("\n")
