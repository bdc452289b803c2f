"""Survivors that are explained: mutants that behave as the original does, or whose difference is none of a test's."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from mutants.mutant import Mutant

FILE: Final = Path(__file__).with_name("explained.toml")
Name = tuple[str, str, str]  # Mutant.name


def read(text: str) -> dict[Name, str]:
    """Returns the reason for each mutant that is named.

    Raises:
        ValueError: an entry lacks something, has an empty reason, or stands there twice.
    """
    reasons: dict[Name, str] = {}
    for entry in tomllib.loads(text).get("survivor", []):
        if entry.keys() != {"file", "code", "change", "reason"} or not all(entry.values()):
            raise ValueError(f"needed are file, code, change and reason: {entry}")
        name = entry["file"], entry["code"], entry["change"]
        if name in reasons:
            raise ValueError(f"explained twice: {name}")
        reasons[name] = entry["reason"]
    return reasons


def stale(reasons: Mapping[Name, str], mutants: Iterable[Mutant]) -> list[Name]:
    """Returns the explanations of mutants that do not exist (any more)."""
    names = {mutant.name for mutant in mutants}
    return [name for name in reasons if name not in names]
