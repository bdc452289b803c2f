"""The expected index of threads, computed from all records."""

from typing import Any

import msgspec

from contract.builders import dump
from millstream.shared import keys
from millstream.shared.metadata_index import MAX_TERMS, term_keys
from millstream.shared.redis import Client


async def assert_index_is_right(redis: Client) -> int:
    """Compares the index with the records. Returns the number of listed threads."""
    contents = await dump(redis)
    expected: dict[str, Any] = {}
    listed = 0
    for key, (_, record) in contents.items():
        if not key.endswith(":thread") or b"retired" in record or b"terms" not in record:
            continue
        listed += 1
        thread_id = keys.thread_id_of(key)
        member = thread_id.encode()
        for field in ("created_at", "updated_at", "state_updated_at"):
            expected.setdefault(keys.threads_by(field), {})[member] = float(record[field.encode()])
        expected.setdefault(keys.threads_by("thread_id"), {})[member] = 0.0
        expected.setdefault(keys.threads_of(record[b"status"].decode()), set()).add(member)
        metadata = msgspec.json.decode(record[b"metadata"])
        if b"graph_id" in record:
            metadata |= {n: record[n.encode()].decode() for n in ("graph_id", "assistant_id")}
        run_terms = {n: metadata.pop(n) for n in ("graph_id", "assistant_id") if n in metadata}
        for part in (metadata, run_terms):
            for term in [keys.unindexed()] if (ks := term_keys(part)) is None else ks:
                expected.setdefault(term, set()).add(member)
    index = {
        key: dict(value) if key.startswith("ms:threads:") and key in ORDERS else set(value)
        for key, (_, value) in contents.items()
        if key.startswith(("ms:threads:", keys.term("")))
    }
    assert index == expected
    return listed


ORDERS = {keys.threads_by(f) for f in ("thread_id", "created_at", "updated_at", "state_updated_at")}
LARGE = {f"key {number}": number for number in range(MAX_TERMS + 1)}
