"""Terms of metadata, by which threads are indexed, and the containment of one JSON value in another.

A term is a scalar and the path of names to it. Each term has a set of the threads that have it (`keys.term`), so that
a filter is an intersection of sets. For values that are no terms, such as the items of lists, `contains` decides on the
records. Containment is defined as for PostgreSQL's `jsonb @>`, which the reference server uses.
"""

import base64
import hashlib
from typing import Any, Final

import msgspec

from millstream.shared import keys

MAX_TERMS: Final = 64  # of one thread; its metadata with more terms is unindexed
MAX_DEPTH: Final = 32  # levels of indexed metadata, and of a filter
INDEX_FIELDS: Final = ("terms", "run_terms")  # of a thread's record: the sets that it is in
RUN_FIELDS: Final = (
    "graph_id",
    "assistant_id",
)  # of metadata; the newest run's values replace the client's

_encode = msgspec.json.Encoder(order="deterministic").encode


def term_keys(value: dict[str, Any]) -> list[str] | None:
    """Returns the keys of the sets of the value's terms; None beyond `MAX_TERMS` or `MAX_DEPTH`."""
    terms: dict[str, None] = {}  # ordered, each once
    stack: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, dict):
            if len(path) >= MAX_DEPTH or len(item) > MAX_TERMS:
                return None
            stack += [((*path, name), inner) for name, inner in item.items()]
        elif not isinstance(item, list):
            terms[_term_key(path, item)] = None
        if len(terms) + len(stack) > MAX_TERMS:
            return None
    return sorted(terms)


def _term_key(path: tuple[str, ...], value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1 and 1.0 are equal in JSON
    exact = value if isinstance(value, str | bool | None) else repr(value)
    encoded = _encode([path, exact, isinstance(value, str)])
    digest = hashlib.blake2b(encoded, digest_size=12).digest()
    return keys.term(base64.urlsafe_b64encode(digest).decode())


def index_fields(metadata: dict[str, Any]) -> dict[str, str]:
    """Returns the fields `INDEX_FIELDS` of a thread's record: keys of sets, separated by blanks.

    A run that starts on the thread replaces `run_terms`.
    """
    client_part = {name: item for name, item in metadata.items() if name not in RUN_FIELDS}
    run_part = {name: item for name, item in metadata.items() if name in RUN_FIELDS}
    return {"terms": _join_keys(client_part), "run_terms": _join_keys(run_part)}


def run_terms(graph_id: str, assistant_id: str) -> str:
    """Returns the field `run_terms` of a thread whose newest run has this graph and assistant."""
    return _join_keys({"graph_id": graph_id, "assistant_id": assistant_id})


def _join_keys(metadata: dict[str, Any]) -> str:
    sets = term_keys(metadata)
    return " ".join([keys.unindexed()] if sets is None else sets)


def terms_decide(value: Any) -> bool:
    """Returns whether the sets of terms decide a filter alone: it has no lists and no empty objects."""
    if isinstance(value, dict):
        return bool(value) and all(map(terms_decide, value.values()))
    return not isinstance(value, list)


def depth(value: Any) -> int:
    """Returns the nesting depth of objects and lists; `MAX_DEPTH + 1` for any deeper value."""
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
    """Returns whether the whole contains the part, which must not be deeper than `MAX_DEPTH`."""
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
