"""Reads a Dockerfile: its stages, and the instructions of each."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction, its continued lines joined."""

    name: str
    text: str

    @property
    def command(self) -> list[str]:
        """The arguments of an instruction in exec form; options before the form are left out."""
        command = json.loads(self.text[self.text.index("[") :])
        assert all(isinstance(each, str) for each in command)
        return list(command)


def _instructions(text: str) -> Iterator[Instruction]:
    without_comments = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    for line in without_comments.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield Instruction(name, " ".join(rest.split()))


def stages(path: Path) -> list[list[Instruction]]:
    """Returns the instructions of each stage; the image is made of the last."""
    result: list[list[Instruction]] = []
    for instruction in _instructions(path.read_text()):
        if instruction.name == "FROM":
            result.append([])
        result[-1].append(instruction)
    return result


def last(stage: list[Instruction], name: str) -> Instruction:
    """Returns the last instruction of that name, the one that counts."""
    return [each for each in stage if each.name == name][-1]


def environment(stage: list[Instruction]) -> dict[str, str]:
    """Returns the variables that a stage sets."""
    pairs = " ".join(each.text for each in stage if each.name == "ENV").split()
    return dict(pair.split("=", 1) for pair in pairs)
