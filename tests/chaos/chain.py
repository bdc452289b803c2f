"""The state that a run's steps write: a chain of items in which no loss stays unnoticed.

Each step appends one item, `token/number/attempt`, and a hash of all items so far, the seal. The
runs of a thread extend the same chain one after the other; each run has a unique token.
"""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import groupby, pairwise
from typing import Any, NamedTuple

EVENTS = 3  # custom events of each step, numbered through the whole run


class Item(NamedTuple):
    """The item of one step."""

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
    """Returns the seal of a chain with that seal after one more item."""
    return hashlib.blake2b(f"{seal} {item}".encode(), digest_size=8).hexdigest()


def items(state: Mapping[str, Any]) -> list[Item]:
    """Returns the items of the chain."""
    return [Item.parse(text) for text in state.get("steps") or ()]


def steps_of(state: Mapping[str, Any], token: str) -> list[Item]:
    """Returns the items of one run."""
    return [item for item in items(state) if item.token == token]


def chain_error(state: Mapping[str, Any]) -> str:
    """Returns what is wrong with the chain, or ''.

    In a valid chain each run's items are adjacent and numbered from 0 without a gap, and no older
    attempt has written after a newer one.
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
    """Returns what the state lacks of a run that took all its steps, or ''."""
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
