"""The `value` of a question: JSON ↔ the types that langgraph_sdk documents for handlers.

Source: langgraph_sdk.auth.types. Ids are UUIDs there and namespaces tuples; JSON has neither.
"""

from typing import Any, Final
from uuid import UUID

import msgspec

IDS: Final = ("thread_id", "run_id", "assistant_id", "cron_id")
ID_LISTS: Final = ("ids", "thread_ids")
TUPLES: Final = ("namespace", "suffix")  # of the store
UUID_CHARS: Final = 36


def value_of(data: bytes, resource: str) -> dict[str, Any]:
    """Returns the value that the handler gets."""
    value: dict[str, Any] = msgspec.json.decode(data)
    for name in IDS:
        if name in value:
            value[name] = _as_uuid(value[name])
    for name in ID_LISTS:
        if isinstance(value.get(name), list):
            value[name] = [_as_uuid(each) for each in value[name]]
    if resource == "store":
        for name in TUPLES:
            if isinstance(value.get(name), list):
                value[name] = tuple(value[name])
    return value


def json_of(value: object) -> bytes:
    """Returns the JSON of what the handler left; raises TypeError or ValueError for a value without a form in JSON."""
    return msgspec.json.encode(value)


def _as_uuid(value: object) -> object:
    """Returns a UUID for its text. A graph's name may stand for the id of its assistant."""
    try:
        return UUID(value) if isinstance(value, str) and len(value) == UUID_CHARS else value
    except ValueError:
        return value
