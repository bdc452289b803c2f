"""What the index of threads should hold, worked out anew from all records."""

from typing import Any

import msgspec

from contract.builders import dump
from millstream.shared import keys
from millstream.shared.metadata_index import MAX_TERMS, term_keys
from millstream.shared.redis import Client


async def assert_index_is_right(redis: Client) -> int:
    """Compares the index with the records; returns how many threads are listed."""
    held = await dump(redis)
    wanted: dict[str, Any] = {}
    listed = 0
    for key, (_, record) in held.items():
        if not key.endswith(":thread") or b"retired" in record or b"terms" not in record:
            continue
        listed += 1
        thread_id = keys.thread_id_of(key)
        word = thread_id.encode()
        for field in ("created_at", "updated_at", "state_updated_at"):
            wanted.setdefault(keys.threads_by(field), {})[word] = float(record[field.encode()])
        wanted.setdefault(keys.threads_by("thread_id"), {})[word] = 0.0
        wanted.setdefault(keys.threads_of(record[b"status"].decode()), set()).add(word)
        metadata = msgspec.json.decode(record[b"metadata"])
        if b"graph_id" in record:
            metadata |= {n: record[n.encode()].decode() for n in ("graph_id", "assistant_id")}
        run_terms = {n: metadata.pop(n) for n in ("graph_id", "assistant_id") if n in metadata}
        for part in (metadata, run_terms):
            for term in [keys.unindexed()] if (ks := term_keys(part)) is None else ks:
                wanted.setdefault(term, set()).add(word)
    index = {
        key: dict(value) if key.startswith("ms:threads:") and key in ORDERS else set(value)
        for key, (_, value) in held.items()
        if key.startswith(("ms:threads:", keys.term("")))
    }
    assert index == wanted
    return listed


ORDERS = {keys.threads_by(f) for f in ("thread_id", "created_at", "updated_at", "state_updated_at")}
LARGE = {f"key {number}": number for number in range(MAX_TERMS + 1)}
