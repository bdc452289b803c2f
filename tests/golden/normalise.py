"""Makes two recordings of one run equal: values that vary between runs become a name in angle brackets.

The recorded streams in `streams.json` are normalised, and a test normalises a server's events before
it compares them. What remains is what a client can rely on: the events' names and order, every key,
and every value that is the same each time.
"""

import json
import re

LEFT_OUT = frozenset(
    {
        "__after_seconds__",
        "__pregel_node_finished",
        "__request_start_time_ms__",
        "langgraph_api_url",
        "langgraph_api_version",
        "langgraph_auth_permissions",
        "langgraph_auth_user",
        "langgraph_auth_user_id",
        "langgraph_host",
        "langgraph_plan",
        "langgraph_request_id",
        "user_id",
    }
)
"""Keys of the recorded server's hosting and auth, which Millstream does not send."""

VERSIONS = frozenset({"langgraph_version", "lc_versions"})
"""Keys whose value is a version of an installed library."""

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"
_VARYING = (
    (re.compile(rf"lc_run--{_UUID}"), "<run id>"),
    (re.compile(_UUID), "<uuid>"),
    (re.compile(_TIME), "<time>"),
    (re.compile(r"\A[0-9a-f]{32}\Z"), "<interrupt id>"),
)


def normalise(event_name: str, data: object) -> tuple[str, object]:
    """Returns an event's name and data with all varying values replaced.

    In strings and in dict keys, at any position:

    * LangChain's id of a model's message, `lc_run--UUID`, becomes `<run id>`. A suffix stays:
      LangChain writes `lc_run--UUID-0` if the model was not streamed;
    * any other UUID becomes `<uuid>`: `updates|child:UUID` is then `updates|child:<uuid>`;
    * an ISO 8601 time with its offset becomes `<time>`;
    * a string of 32 hexadecimal digits becomes `<interrupt id>`.

    Library versions become `<version>`, the keys in `LEFT_OUT` are removed, and keys are sorted.
    Numbers, booleans, null and all other strings stay unchanged. Normalising twice equals normalising
    once.
    """
    return _text(event_name), _value(data)


def parse_sse(text: str) -> list[tuple[str, object]]:
    r"""Parses a `text/event-stream` body into pairs of name and decoded JSON.

    Lines may end in LF, CR or CRLF. Comments (`: heartbeat`) and ids are skipped, and so is a
    block without data, as every client does. Without a name an event is a `message`. A last
    event that was cut off before its blank line is not an event yet.

    >>> parse_sse('event: custom\ndata: {"done": 1}\n\n: heartbeat\n\n')
    [('custom', {'done': 1})]
    """
    events: list[tuple[str, object]] = []
    name, data = "", list[str]()
    *lines, _unfinished = re.split(r"\r\n|\r|\n", text)
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append((name or "message", json.loads("\n".join(data))))
            name, data = "", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
    return events


def _value(value: object) -> object:
    match value:
        case str():
            return _text(value)
        case dict():
            return _dict(value)
        case list() | tuple():
            return [_value(item) for item in value]
        case _:
            return value


def _dict(value: dict[str, object]) -> dict[str, object]:
    items = {key: item for key, item in value.items() if key not in LEFT_OUT}
    result = {
        _text(key): "<version>" if key in VERSIONS else _value(item) for key, item in items.items()
    }
    if len(result) < len(items):
        raise ValueError(f"two keys became one: {sorted(items)} → {sorted(result)}")
    return dict(sorted(result.items()))


def _text(text: str) -> str:
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text
