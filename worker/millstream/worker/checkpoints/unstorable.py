"""Values that a checkpoint can't hold: where in the state they lie, who wrote them, and what to do."""

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from langgraph.types import Interrupt, Send

from millstream.worker.checkpoints.records import MOST_BYTES
from millstream.worker.text import bounded, printable, said

DEEPEST: Final = 100  # steps that are looked into a value
SHOWN: Final = 80  # characters of a value, of a key
INTEGERS: Final = range(-(2**63), 2**64)
PULLED: Final = (
    "~__pregel_pull, "  # before the node's name in the path of a task that edges started
)

# Channels in which LangGraph keeps more than the state.
NAMES: Final = {
    "__interrupt__": "the value of interrupt()",
    "__resume__": "the answer to an interrupt (command.resume)",
    "__pregel_tasks": "the argument of a Send",
    "__return__": "the value that a task returned",
    "__previous__": "the value that the entrypoint saves",
    "__start__": "the input",
    "__root__": "the state",
}

OUTSIDE: Final = "Keep such objects out of the state: make them in the node, or hand them over in the runtime context."

Dump = Callable[[Any], object]
Step = tuple[str, Any]  # how a part is reached from what holds it, and the part


class UnstorableError(TypeError):
    """A value that was to be kept in a thread's state can't be serialised."""


@dataclass(frozen=True, slots=True)
class Writer:
    """What wrote a value, as far as the saver is told."""

    task_path: str = ""  # as LangGraph writes it
    namespace: str = ""  # of the subgraph: 'child:UUID|…', '' for the root graph

    def __str__(self) -> str:
        node = self.task_path.removeprefix(PULLED)
        words = [f"node {node!r}"] if node != self.task_path else []
        graphs = [part.partition(":")[0] for part in self.namespace.split("|") if part]
        if graphs:
            words.append(f"subgraph {'/'.join(graphs)!r}")
        return ", ".join(words)


def unstorable(
    channel: str, value: Any, reason: BaseException, dump: Dump, writer: Writer
) -> UnstorableError:
    """Returns the error that names the part of `value` that `dump` refuses; `reason` is what it raised.

    `channel` is LangGraph's name for where the value was written.
    """
    path, part, reason, depth = _refused_part(value, reason, dump)
    name = NAMES.get(channel)
    if isinstance(value, Send) and name:
        name, path = f"the argument of a Send to node {value.node!r}", path.removeprefix(".arg")
    elif isinstance(value, tuple) and value and isinstance(value[0], Interrupt):
        path = path.removeprefix("[0].value")
    place = f"{channel}{path}" if name is None else f"{name}, {path.lstrip('.')}" if path else name
    around = ", ".join(
        words
        for words in (f"channel {channel!r}" if name is None and path else "", str(writer))
        if words
    )
    return _told(
        f"A checkpoint can't hold {place}{f' ({around})' if around else ''}", part, reason, depth
    )


def unstorable_item(
    namespace: tuple[str, ...], key: str, value: Any, reason: BaseException, dump: Dump
) -> UnstorableError:
    """Returns the error for an item of the long-term store: see `unstorable`."""
    path, part, reason, depth = _refused_part(value, reason, dump)
    item = f"item {key!r} of namespace {'/'.join(namespace)!r}"
    return _told(f"The store can't hold value{path} ({item})", part, reason, depth)


def _told(words: str, part: Any, reason: BaseException, depth: int) -> UnstorableError:
    kind, advice = _kind(part, reason, depth)
    return UnstorableError(
        f"{words}: {bounded(printable(said(repr, part)), SHOWN)} {kind}. {advice}"
    )


def too_large(what: str, size: int) -> UnstorableError:
    """Returns the error for what Redis could not keep, however often it is sent."""
    return UnstorableError(
        f"{what} takes {size} bytes in the checkpoint, and {MOST_BYTES} is the most: keep large things "
        "elsewhere, and their address in the state."
    )


def _refused_part(
    value: Any, reason: BaseException, dump: Dump
) -> tuple[str, Any, BaseException, int]:
    """Returns the innermost part that is refused by itself: its path, itself, why, and how deep it lies."""
    path, above, depth = "", {id(value)}, 0
    while depth < DEEPEST:
        found = _first_refused(_parts(value), dump)
        if found is None:
            break
        step, value, reason = found
        path, depth = path + step, depth + 1
        if id(value) in above:
            return path, value, _ContainsItselfError(), depth
        above.add(id(value))
    if depth == DEEPEST:
        path = re.sub(r"(?<=\A.{60}).*\Z", "…", path, flags=re.DOTALL)
    return path, value, reason, depth


class _ContainsItselfError(Exception):
    """Stands for the reason of a value that lies in itself."""


def _first_refused(parts: list[Step], dump: Dump) -> tuple[str, Any, BaseException] | None:
    """Returns the first part that is refused; many are halved, as of a million one may be wrong."""
    if len(parts) > 16:
        half = len(parts) // 2
        first, second = parts[:half], parts[half:]
        refused = _raised(dump, [part for _, part in first]) is not None
        return _first_refused(first if refused else second, dump)
    for step, part in parts:
        reason = _raised(dump, part)
        if reason is not None:
            return step, part, reason
    return None


def _raised(dump: Dump, value: Any) -> Exception | None:
    try:
        dump(value)
    except Exception as error:  # whatever a user's object raises
        return error
    return None


def _parts(value: Any) -> list[Step]:
    """Returns what a value holds, as far as it can be looked into."""
    try:
        return _opened(value)
    except Exception:  # the value itself is to blame, then
        return []


def _opened(value: Any) -> list[Step]:
    if isinstance(value, Mapping):
        return [(_key(key), part) for key, part in list(value.items())]
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return [(f".{name}", part) for name, part in value._asdict().items()]
    if isinstance(value, list | tuple | deque):
        return [(f"[{at}]", part) for at, part in enumerate(list(value))]
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


def _key(key: Any) -> str:
    if isinstance(key, str) and key.isidentifier():
        return f".{bounded(key, SHOWN)}"
    return f"[{bounded(printable(said(repr, key)), SHOWN)}]"


def _kind(value: Any, reason: BaseException, depth: int) -> tuple[str, str]:
    """Returns what is wrong with a refused value, behind its repr, and what to do about it."""
    if isinstance(reason, _ContainsItselfError):
        return "contains itself", "Keep an id in its place."
    if depth >= DEEPEST or isinstance(reason, RecursionError) or "recursion" in str(reason).lower():
        return "is nested too deep", "Keep it flatter, or as a JSON text."
    if isinstance(value, int) and value not in INTEGERS:
        return "is an integer beyond 64 bits", "Keep it as a str or a Decimal."
    if isinstance(value, type):
        return "is a class", "Keep its name, or an object of it."
    if isinstance(value, str):
        return (
            "is a text with a lone surrogate, which UTF-8 can't carry",
            "Clean it with text.encode('utf-8', 'replace').decode().",
        )
    if isinstance(value, Mapping):
        return (
            f"has a key that can't be kept ({bounded(said(str, reason), SHOWN)})",
            "Use str, int, float, bool, None, dates or UUIDs as keys, and integers of 64 bits.",
        )
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}".replace("builtins.", "")
    words = f"is {'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
    for method in ("model_dump", "dict", "_asdict"):  # which LangGraph's serializer would call
        if callable(call := getattr(value, method, None)):
            error = _raised(lambda _: call(), value)
            if error is not None:
                why = f"{type(error).__name__}: {bounded(printable(said(str, error)), 300)}"
                return f"{words}, whose {method}() raised {why}", "Mend it, or keep plain data."
    return f"{words}, which has no serialised form", OUTSIDE
