"""Seals and opens users' data on the records of threads and in the streams of runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from millstream.shared.sealing import locations
from millstream.shared.sealing.key_ring import KeyRing
from millstream.shared.wire import RunSpec

# Sealed on a thread's record. Its metadata stay readable, because searches and filters read them.
THREAD_FIELDS: Final = ("values", "output", "interrupts", "error", "config")


def seal_thread(key_ring: KeyRing, thread_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns fields of a thread's record as they are stored."""
    if not key_ring.is_sealing:
        return dict(fields)
    return {
        name: key_ring.seal(locations.of_thread(thread_id, name), _to_bytes(value))
        if name in THREAD_FIELDS
        else value
        for name, value in fields.items()
    }


def open_thread_field(key_ring: KeyRing, thread_id: str, name: str, stored: bytes) -> bytes:
    """Returns a field of a thread's record; raises SealedError."""
    return key_ring.open(locations.of_thread(thread_id, name), stored)


def seal_events(
    key_ring: KeyRing, spec: RunSpec, items: Sequence[str | bytes]
) -> Sequence[str | bytes]:
    """Returns `[event name, JSON data, …]` with the data as they are stored."""
    if not key_ring.is_sealing:
        return items
    location = locations.of_run(spec.thread_id, spec.run_id, "event")
    return [
        key_ring.seal(location, _to_bytes(item)) if number % 2 else item
        for number, item in enumerate(items)
    ]


def _to_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
