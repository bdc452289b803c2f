"""Markdown of the generated pages."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

CODE: Final = re.compile(r"(`[^`]*`)")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table with a blank line after it, or nothing if there are no rows."""
    lines = [" | ".join(map(cell, row)) for row in rows]
    if not lines:
        return ""
    head = f"| {' | '.join(header)} |\n|{'---|' * len(header)}\n"
    return head + "".join(f"| {line} |\n" for line in lines) + "\n"


def cell(text: str) -> str:
    """Returns text that can stand in a cell: one line, and no `|` but in code."""
    parts = CODE.split(re.sub(r"\s*\n\s*", " ", text).strip())
    return "".join(part if part[:1] == "`" else part.replace("|", "&#124;") for part in parts)


def code(text: object) -> str:
    """Returns a code span, or nothing for empty text."""
    return f"`{text}`" if str(text) else ""


def paragraph(docstring: str | None) -> str:
    """Returns a docstring's first paragraph as one line, with its attributes' and arguments' lists left out."""
    return cell((docstring or "").strip().split("\n\n")[0])
