"""The cases: each graph, with inputs that take it to its end."""

from dataclasses import dataclass
from typing import Any, Final

MODES: Final = (
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "tasks",
    "checkpoints",
    "debug",
    "events",
)
RECURSION: Final = {"config": {"recursion_limit": 5}}

HELLO: Final = {"messages": [{"role": "user", "content": "hello", "id": "h-1"}]}


@dataclass(frozen=True)
class Case:
    """Runs of one graph on one thread, one after the other."""

    graph: str
    runs: tuple[dict[str, Any], ...]  # the fields of each request, without assistant and modes


def _once(graph: str, input: Any, **more: Any) -> Case:
    return Case(graph, ({"input": input, **more},))


def _answered(graph: str, input: Any, *answers: Any) -> Case:
    return Case(graph, ({"input": input}, *({"command": {"resume": a}} for a in answers)))


CASES: Final = (
    _once("schemas", {"question": "why"}),
    _answered("schemas_asking", {"question": "why"}, "yes"),
    Case("dataclassed", ({"input": {"item": "a"}}, {"input": {"item": "b"}})),
    # One run: the reference loads a file's classes twice, and rejects its own object in the second.
    _once("pydantic", {"name": "Ada"}),
    _once("pydantic", {"name": "Ada", "visits": "many"}),
    _once("context", {"question": "why"}, context={"model": "large"}),
    _once("functional", {"n": 4}),
    Case("functional_number", ({"input": {"n": 4}}, {"input": {"n": 5}})),
    _once("functional_list", {"n": 4}),
    _once("functional_text", {"n": 4}),
    _answered("functional_asking", {"n": 4}, {"go": "on"}),
    _once("sends", {}),
    _once("sends", {"items": ["given"]}),
    _once("commands", {"items": []}),
    _once("commands", {"items": [], "unknown": 1}),
    _answered("asking_inside", {"items": ["given"]}, "yes"),
    _answered("asking_twice", {"items": []}, "one", {"two": 2}),
    Case("stopping", ({"input": {"items": []}}, {"input": None})),
    _once("leaving", {"items": []}),
    _once("deep", {"items": []}),
    _once("tools", HELLO),
    _once("forgetting", HELLO),
    _once("retried", {"items": []}),
    _once("group", {"items": []}),
    _once("broken_inside", {"items": []}),
    _once("conflict", {"items": []}),
    _once("endless", {"items": []}, **RECURSION),
    _once("chat", HELLO),
    Case("steps", ({"input": {}}, {"input": {"items": [9]}})),
    _answered("approval", {"topic": "tea"}, "yes"),
    Case("approval", ({"input": {"topic": "tea"}}, {"input": {"topic": "coffee"}})),
    _once("nested", {"text": "t"}),
    _once("boom", {}),
    _once("custom", {}),
    _once("echo", HELLO),
    _once("nested_chat", HELLO),
)
