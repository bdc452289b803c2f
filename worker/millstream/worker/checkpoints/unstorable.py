"""Errors for values that a checkpoint can't hold: where in the state, which node wrote them, and what to do."""

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from langgraph.types import Interrupt, Send

from millstream.worker.checkpoints.records import MAX_VALUE_BYTES
from millstream.worker.safe_text import convert_safely, escape_controls, truncate

MAX_DEPTH: Final = 100  # steps into a value
MAX_REPR_CHARS: Final = 80  # of a value, a key or a reason
INTEGERS: Final = range(-(2**63), 2**64)  # that msgpack can encode
# In front of the node's name in the path of a task that edges started.
PULL_PREFIX: Final = "~__pregel_pull, "

# LangGraph's channels that hold no part of the state.
CHANNEL_NAMES: Final = {
    "__interrupt__": "the value of interrupt()",
    "__resume__": "the answer to an interrupt (command.resume)",
    "__pregel_tasks": "the argument of a Send",
    "__return__": "the value that a task returned",
    "__previous__": "the value that the entrypoint saves",
    "__start__": "the input",
    "__root__": "the state",
}

OUTSIDE_ADVICE: Final = (
    "Keep the object out of the state: create it in the node, or pass it in the runtime context."
)

Dump = Callable[[Any], object]
Step = tuple[str, Any]  # the path from a container to one of its parts, and the part


class UnstorableError(TypeError):
    """A value in a thread's state can't be serialised."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The node and the subgraph that wrote a value, as far as LangGraph names them to the saver."""

    task_path: str = ""  # in LangGraph's form
    namespace: str = ""  # of the subgraph: 'child:UUID|…', '' for the root graph

    def __str__(self) -> str:
        node = self.task_path.removeprefix(PULL_PREFIX)
        parts = [f"node {node!r}"] if node != self.task_path else []
        graphs = [part.partition(":")[0] for part in self.namespace.split("|") if part]
        if graphs:
            parts.append(f"subgraph {'/'.join(graphs)!r}")
        return ", ".join(parts)


def unstorable_error(
    channel: str, value: Any, reason: BaseException, dump: Dump, writer: Writer
) -> UnstorableError:
    """Returns the error that names the part of `value` that `dump` rejects.

    Args:
        channel: LangGraph's channel to which the value was written.
        reason: the exception that `dump` raised for the whole value.
    """
    path, part, reason, depth = _find_rejected_part(value, reason, dump)
    name = CHANNEL_NAMES.get(channel)
    if isinstance(value, Send) and name:
        name, path = f"the argument of a Send to node {value.node!r}", path.removeprefix(".arg")
    elif isinstance(value, tuple) and value and isinstance(value[0], Interrupt):
        path = path.removeprefix("[0].value")
    if name is None:
        location = f"{channel}{path}"
    elif path:
        location = f"{name}, {path.lstrip('.')}"
    else:
        location = name
    origins = [f"channel {channel!r}" if name is None and path else "", str(writer)]
    origin = ", ".join(filter(None, origins))
    return _error(
        f"A checkpoint can't hold {location}{f' ({origin})' if origin else ''}", part, reason, depth
    )


def unstorable_item_error(
    namespace: tuple[str, ...], key: str, value: Any, reason: BaseException, dump: Dump
) -> UnstorableError:
    """Returns the error for an item of the long-term store: see `unstorable_error`."""
    path, part, reason, depth = _find_rejected_part(value, reason, dump)
    item = f"item {key!r} of namespace {'/'.join(namespace)!r}"
    return _error(f"The store can't hold value{path} ({item})", part, reason, depth)


def _error(beginning: str, part: Any, reason: BaseException, depth: int) -> UnstorableError:
    problem, advice = _explain(part, reason, depth)
    shortened = truncate(escape_controls(convert_safely(repr, part)), MAX_REPR_CHARS)
    return UnstorableError(f"{beginning}: {shortened} {problem}. {advice}")


def too_large_error(subject: str, size: int) -> UnstorableError:
    """Returns the error for a value that Redis would reject at each try. `size` is in bytes."""
    return UnstorableError(
        f"{subject} has {size} bytes in the checkpoint, and the limit is {MAX_VALUE_BYTES}: store large values "
        "elsewhere, and keep their address in the state."
    )


def _find_rejected_part(
    value: Any, reason: BaseException, dump: Dump
) -> tuple[str, Any, BaseException, int]:
    """Returns the innermost part that `dump` rejects by itself: its path, the part, the reason, its depth."""
    path, containers, depth = "", {id(value)}, 0
    while depth < MAX_DEPTH:
        rejected = _first_rejected(_parts(value), dump)
        if rejected is None:
            break
        step, value, reason = rejected
        path, depth = path + step, depth + 1
        if id(value) in containers:
            return path, value, _ContainsItselfError(), depth
        containers.add(id(value))
    if depth == MAX_DEPTH:
        path = re.sub(r"(?<=\A.{60}).*\Z", "…", path, flags=re.DOTALL)
    return path, value, reason, depth


class _ContainsItselfError(Exception):
    """The reason for a value that contains itself."""


def _first_rejected(parts: list[Step], dump: Dump) -> tuple[str, Any, BaseException] | None:
    """Returns the first part that `dump` rejects. Halves a long list, which may have a million valid parts."""
    if len(parts) > 16:
        half = len(parts) // 2
        first, second = parts[:half], parts[half:]
        rejected = _catch(dump, [part for _, part in first]) is not None
        return _first_rejected(first if rejected else second, dump)
    for step, part in parts:
        reason = _catch(dump, part)
        if reason is not None:
            return step, part, reason
    return None


def _catch(dump: Dump, value: Any) -> Exception | None:
    try:
        dump(value)
    except Exception as error:  # of the user's object
        return error
    return None


def _parts(value: Any) -> list[Step]:
    """Returns the parts of a container; none for other values, and for a container that can't be read."""
    try:
        return _read_parts(value)
    except Exception:  # the error then names the container itself
        return []


def _read_parts(value: Any) -> list[Step]:
    if isinstance(value, Mapping):
        return [(_key_step(key), part) for key, part in list(value.items())]
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return [(f".{name}", part) for name, part in value._asdict().items()]
    if isinstance(value, list | tuple | deque):
        return [(f"[{index}]", part) for index, part in enumerate(list(value))]
    if isinstance(value, set | frozenset):
        return [("{…}", part) for part in list(value)]
    if isinstance(value, Send):
        return [(".arg", value.arg)]
    if isinstance(value, type):
        return []
    if is_dataclass(value):
        return [(f".{field.name}", getattr(value, field.name, None)) for field in fields(value)]
    if hasattr(value, "model_dump"):  # pydantic
        return [(f".{name}", part) for name, part in vars(value).items()]
    return []


def _key_step(key: Any) -> str:
    if isinstance(key, str) and key.isidentifier():
        return f".{truncate(key, MAX_REPR_CHARS)}"
    return f"[{truncate(escape_controls(convert_safely(repr, key)), MAX_REPR_CHARS)}]"


def _explain(value: Any, reason: BaseException, depth: int) -> tuple[str, str]:
    """Returns the problem of a rejected value, as a predicate, and the advice."""
    if isinstance(reason, _ContainsItselfError):
        return "contains itself", "Keep an id in its place."
    is_recursion = isinstance(reason, RecursionError) or "recursion" in str(reason).lower()
    if depth >= MAX_DEPTH or is_recursion:
        return "is nested too deep", "Keep it flatter, or as a JSON text."
    if isinstance(value, int) and value not in INTEGERS:
        return "is an integer beyond 64 bits", "Keep it as a str or a Decimal."
    if isinstance(value, type):
        return "is a class", "Keep its name, or an object of it."
    if isinstance(value, str):
        return (
            "is a text with a lone surrogate, which UTF-8 can't encode",
            "Clean it with text.encode('utf-8', 'replace').decode().",
        )
    if isinstance(value, Mapping):
        return (
            f"has a key that can't be stored ({truncate(convert_safely(str, reason), MAX_REPR_CHARS)})",
            "Use str, int, float, bool, None, dates or UUIDs as keys, and integers of 64 bits.",
        )
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}".replace("builtins.", "")
    problem = f"is {'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
    for method in ("model_dump", "dict", "_asdict"):  # which LangGraph's serializer would call
        if callable(call := getattr(value, method, None)):
            error = _catch(lambda _: call(), value)
            if error is not None:
                message = truncate(escape_controls(convert_safely(str, error)), 300)
                return (
                    f"{problem}, whose {method}() raised {type(error).__name__}: {message}",
                    "Correct the method, or keep plain data.",
                )
    return f"{problem}, which has no serialised form", OUTSIDE_ADVICE
