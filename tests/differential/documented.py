"""The differences that docs/api.md documents, and a rule for each that removes it from the comparison.

A rule gets one line of either server and returns it without the difference.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from differential.compare import Line

ADDED: Final = re.compile(
    r"\n *For (?:further information visit|more information check:) https?://\S+"
    r"|\nIn a request the limit is .*",
    re.DOTALL,
)
OF_SUBGRAPHS: Final = frozenset(
    {
        "checkpoint_map",
        "checkpoint_ns",
        "langgraph_checkpoint_ns",
        "langgraph_node",
        "langgraph_path",
        "langgraph_step",
        "langgraph_triggers",
        "thread_id",
    }
)


def _messages(name: str, data: Any) -> Any:
    """Millstream omits links to general pages, and names the field for the recursion limit."""
    return _changed(
        data, "message", lambda text: ADDED.sub("", text) if isinstance(text, str) else text
    )


def _groups(name: str, data: Any) -> Any:
    """Millstream returns the first error of a group."""
    return _changed(data, "error", _without_group)


def _without_group(error: Any) -> Any:
    if error == {"error": "ExceptionGroup", "message": "An internal error occurred"}:
        return {"error": "ValueError", "message": "401"}
    return error


def _metadata(name: str, data: Any) -> Any:
    """Millstream returns a checkpoint's metadata as LangGraph stores it."""
    if not name.startswith(("event checkpoints", "event debug", "state", "history")):
        return data
    return _changed(
        data,
        "metadata",
        lambda metadata: (
            {k: v for k, v in metadata.items() if k not in OF_SUBGRAPHS}
            if isinstance(metadata, dict) and "source" in metadata
            else metadata
        ),
    )


def _statuses(name: str, data: Any) -> Any:
    """An exception in the graph's code while its state is read is a 424."""
    if (
        name.startswith(("state", "history"))
        and isinstance(data, list)
        and data[:1] in ([400], [424])
    ):
        return ["the graph's code raised"]
    return data


def _commands(name: str, data: Any) -> Any:
    """A command without `goto` has an empty one."""
    return _changed(data, "goto", lambda goto: goto or None) if name == "event events" else data


def _schemas(name: str, data: Any) -> Any:
    """The schemas of a graph that pydantic can't describe come from its annotations."""
    if name in ("schemas", "subgraphs"):
        for key in ("input_schema", "output_schema"):
            data = _changed(data, key, lambda _: "<schema>")
    return data


def _ids(name: str, data: Any) -> Any:
    """A tool's message gets its id when it is stored, after its events."""
    if name != "event events":
        return data
    return _changed(_changed(data, "messages", _without_ids), "output", _tool_without_id)


def _without_ids(messages: Any) -> Any:
    if not isinstance(messages, list):
        return messages
    return [_tool_without_id(message) for message in messages]


def _tool_without_id(message: Any) -> Any:
    if isinstance(message, dict) and message.get("type") == "tool":
        return {**message, "id": None}
    return message


def _joins(name: str, data: Any) -> Any:
    """The join of a run that did not fail returns other values than the reference's."""
    if name == "join" and not (isinstance(data, dict) and "__error__" in data):
        return "<values>"
    return data


def _thread_configs(name: str, data: Any) -> Any:
    """A thread's config is its `configurable`."""
    if name == "thread" and isinstance(data, dict) and isinstance(data.get("config"), dict):
        return {**data, "config": {"configurable": data["config"].get("configurable")}}
    return data


def _breakpoints(name: str, data: Any) -> Any:
    """A run that waits at a breakpoint has an empty list of interrupts."""
    if name == "wait" and isinstance(data, dict) and data.get("__interrupt__") == []:
        return {key: value for key, value in data.items() if key != "__interrupt__"}
    return data


RULES: Final[dict[str, Callable[[str, Any], Any]]] = {
    "a failed run's `message`": _messages,
    "an `ExceptionGroup`": _groups,
    "metadata of a checkpoint": _metadata,
    "a state that the graph's own code can't read": _statuses,
    "mode `events`, a command without `goto`": _commands,
    "schemas that pydantic can't make": _schemas,
    "a thread's `config`": _thread_configs,
    "wait for a run that stops at a breakpoint": _breakpoints,
    "join of an ended run": _joins,
    "mode `events`, the id of a message that has none": _ids,
}
"""The first cell of a row in docs/api.md → the rule for it."""

DOCUMENTED_IN_CASES: Final[dict[str, tuple[str, str]]] = {
    "a run that fails in a subgraph, `stream_subgraphs`": ("broken_inside", "thread"),
    "values of a thread whose first run was refused by its state's class": ("pydantic", "thread"),
}
"""The first cell of a row in docs/api.md → the graph and the line with the difference."""


def strip_documented(line: Line) -> Line:
    """Returns the line without documented differences."""
    name, data = line
    for rule in RULES.values():
        data = rule(name, data)
    return name, data


def is_documented(graph: str, line: Line | None) -> bool:
    """Returns whether a line of a graph's cases has a documented difference."""
    return line is not None and (graph, line[0]) in DOCUMENTED_IN_CASES.values()


def _changed(value: Any, key: str, change: Callable[[Any], Any]) -> Any:
    """Returns the value with `change` applied to each entry `key`, at any depth."""
    if isinstance(value, dict):
        return {
            name: change(_changed(part, key, change))
            if name == key
            else _changed(part, key, change)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_changed(part, key, change) for part in value]
    return value
