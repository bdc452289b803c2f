"""A mutant: one change of one file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a text: what stands from `start` to `end` (in characters) becomes `new`."""

    start: int
    end: int
    new: str
    change: str  # in words, such as "`==` becomes `~=`"
    within: int  # where the innermost statement around it starts


@dataclass(frozen=True, slots=True)
class Mutant:
    """An edit of a file, named so that it is mutants again when lines above it have moved."""

    path: str  # from the root of the checkout
    line: int  # counted from 1
    code: str  # the text of that line, without the white space around it
    change: str
    statement: int  # the line of the innermost statement around it
    edit: Edit

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.change}"

    @property
    def name(self) -> tuple[str, str, str]:
        """What tells it from all others: its file, its line of code, its change."""
        return self.path, self.code, self.change

    def apply(self, text: str) -> str:
        """Returns the text of its file with the change made."""
        return text[: self.edit.start] + self.edit.new + text[self.edit.end :]


def mutants_of(path: str, text: str, edits: Callable[[str], Iterable[Edit]]) -> list[Mutant]:
    """Returns the mutants of a file, from its top to its end; changes that are alike are numbered."""
    lines = text.splitlines()
    mutants: dict[tuple[str, str, str], Mutant] = {}
    for edit in sorted(set(edits(text)), key=lambda edit: (edit.start, edit.end, edit.change)):
        line = text.count("\n", 0, edit.start) + 1
        statement = text.count("\n", 0, edit.within) + 1
        mutant = Mutant(path, line, lines[line - 1].strip(), edit.change, statement, edit)
        number = 2
        while mutant.name in mutants:
            mutant = replace(mutant, change=f"{edit.change} ({number})")
            number += 1
        mutants[mutant.name] = mutant
    return list(mutants.values())


def brief(text: str, limit: int = 40) -> str:
    """Returns code on one line, cut off at `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
