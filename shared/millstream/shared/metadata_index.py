"""Metadata as the index of threads sees it: terms that can be found, and what contains what.

A term is a scalar and the path of names to it. Each has a set of the threads that have it
(`keys.term`), so that a filter is an intersection. What is in no set, such as the items of lists,
is decided by `contains` on the records. Containment is that of PostgreSQL's `jsonb @>`, which is
the reference's.
"""

import base64
import hashlib
from typing import Any, Final

import msgspec

from millstream.shared import keys

MAX_TERMS: Final = 64  # terms of a thread that have sets
MAX_DEPTH: Final = (
    32  # levels to which metadata is looked into for them, and that a filter may have
)
INDEX_FIELDS: Final = (
    "terms",
    "run_terms",
)  # fields of a record: the sets of terms that its thread is in
NAMES: Final = ("graph_id", "assistant_id")  # shown of the newest run, whatever the client stored

_encode = msgspec.json.Encoder(order="deterministic").encode


def term_keys(value: dict[str, Any]) -> list[str] | None:
    """Returns the keys of the sets of the terms; None if there are more, or deeper ones, than go."""
    found: dict[str, None] = {}
    stack: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, dict):
            if len(path) >= MAX_DEPTH:
                return None
            stack += [((*path, name), inner) for name, inner in item.items()]
        elif not isinstance(item, list):
            found[_term_key(path, item)] = None
        if len(found) + len(stack) > MAX_TERMS:
            return None
    return sorted(found)


def _term_key(path: tuple[str, ...], value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1 and 1.0 are the same number
    exact = value if isinstance(value, str | bool | None) else repr(value)
    word = _encode([path, exact, isinstance(value, str)])
    digest = hashlib.blake2b(word, digest_size=12).digest()
    return keys.term(base64.urlsafe_b64encode(digest).decode())


def index_fields(metadata: dict[str, Any]) -> dict[str, str]:
    """Returns the fields `INDEX_FIELDS`: keys, one blank between.

    `run_terms` are those that are replaced when a run begins.
    """
    own = {name: item for name, item in metadata.items() if name not in NAMES}
    run_terms = {name: item for name, item in metadata.items() if name in NAMES}
    return {"terms": _words(own), "run_terms": _words(run_terms)}


def run_terms(graph_id: str, assistant_id: str) -> str:
    """Returns the field `run_terms` of a thread whose newest run is of these."""
    return _words({"graph_id": graph_id, "assistant_id": assistant_id})


def _words(part: dict[str, Any]) -> str:
    found = term_keys(part)
    return " ".join([keys.unindexed()] if found is None else found)


def terms_decide(value: Any) -> bool:
    """Returns whether the sets of terms decide about a filter: it has no lists, nothing empty."""
    if isinstance(value, dict):
        return bool(value) and all(map(terms_decide, value.values()))
    return not isinstance(value, list)


def depth(value: Any) -> int:
    """Returns how many objects and lists are inside each other; `MAX_DEPTH + 1` stands for more."""
    level, items = 0, [value]
    while level <= MAX_DEPTH:
        items = [item for item in items if isinstance(item, dict | list)]
        if not items:
            return level
        level += 1
        items = [
            inner for item in items for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return level


def contains(whole: Any, part: Any) -> bool:
    """Returns whether all of the part is in the whole; the part is no deeper than `MAX_DEPTH`."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            name in whole and contains(whole[name], item) for name, item in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(
            any(contains(inner, item) for inner in whole) for item in part
        )
    if isinstance(whole, dict | list) or isinstance(whole, bool) != isinstance(part, bool):
        return False
    return bool(whole == part)
