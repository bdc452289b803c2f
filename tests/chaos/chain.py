"""What a run's steps leave in the state: a chain of items in which nothing can be lost unseen.

Each step appends one item, `token/number/attempt`, and seals all items so far. The runs of a
thread share the chain, one after the other; every run has a token of its own.
"""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import groupby, pairwise
from typing import Any, NamedTuple

EVENTS = 3  # custom events that each step emits, numbered through the whole run


class Item(NamedTuple):
    """What one step left."""

    token: str
    number: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.token}/{self.number}/{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> "Item":
        token, number, attempt = text.split("/")
        return cls(token, int(number), int(attempt))


def link(seal: str, item: str) -> str:
    """Returns the seal of a chain that was sealed and has grown by an item."""
    return hashlib.blake2b(f"{seal} {item}".encode(), digest_size=8).hexdigest()


def items(state: Mapping[str, Any]) -> list[Item]:
    """Returns the chain."""
    return [Item.parse(text) for text in state.get("steps") or ()]


def steps_of(state: Mapping[str, Any], token: str) -> list[Item]:
    """Returns a run's own part of the chain."""
    return [item for item in items(state) if item.token == token]


def chain_error(state: Mapping[str, Any]) -> str:
    """Returns what is wrong with the chain, or nothing.

    Each run's items stand together, are numbered from 0 without a gap, and no older attempt has
    written after a newer one.
    """
    seal = ""
    for text in state.get("steps") or ():
        seal = link(seal, text)
    if seal != (state.get("seal") or ""):
        return "the seal does not fit the steps"
    seen: set[str] = set()
    for token, group in groupby(items(state), key=lambda item: item.token):
        if token in seen:
            return f"the steps of {token} do not stand together"
        seen.add(token)
        part = list(group)
        if [item.number for item in part] != list(range(len(part))):
            return f"{token} has the steps {[item.number for item in part]}"
        if any(one.attempt > after.attempt for one, after in pairwise(part)):
            return f"an older attempt wrote after a newer one: {format_steps(part)}"
    return ""


def incomplete(state: Mapping[str, Any], token: str, goal: int) -> str:
    """Returns what the state lacks of a run that took all its steps, or nothing."""
    if wrong := chain_error(state):
        return wrong
    part = steps_of(state, token)
    if len(part) != goal:
        return f"{token} has {len(part)} of {goal} steps"
    if items(state)[-goal:] != part:
        return f"the steps of {token} are not the last"
    return ""


def format_steps(part: Iterable[Item]) -> str:
    return " ".join(map(str, part))
