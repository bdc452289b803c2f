"""Describes exceptions. Clients get the type and a message; the log also gets the traceback.

The message is the exception's text, as on the reference server. If that text says too little (it is empty, or only
the key of a KeyError), the message says what happened, in which node and on which line. See docs/decisions/0036.
"""

import asyncio
import re
import sysconfig
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from langgraph.errors import GraphRecursionError

from millstream.worker.safe_text import (
    convert_safely,
    escape_controls,
    replace_surrogates,
    truncate,
)

MAX_MESSAGE_CHARS: Final = 100_000  # for clients
MAX_TRACEBACK_CHARS: Final = 20_000  # in the log
MAX_OTHERS: Final = 3  # further errors of a group in the message
MAX_GROUP_ERRORS: Final = 100  # errors of a group that are read

SELF_CANCELLED: Final = (
    "The graph cancelled itself: its code raised an asyncio.CancelledError, but no client cancelled the run. "
    "Look for a task that is cancelled and then awaited."
)

# LangGraph's notes on an exception; the first one names the innermost node.
_NODE: Final = re.compile(
    r"(?:During|Before) task with name '(?P<node>.*)' and (?:id|path) ", re.DOTALL
)
# Lines of pydantic and httpx that refer to a general page.
_POINTER: Final = re.compile(
    r"\n *For (?:further information visit|more information check:) https?://\S+"
)
_LIBRARIES: Final = tuple(
    {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(Path(__file__).parents[1])}
)
# Frames of libraries between a node and its caller. A project may be installed in the same folder as they are.
_MACHINERY: Final = re.compile(
    r"[/\\](?:langgraph|langchain_core|millstream|asyncio|concurrent)[/\\]"
)


def is_cancelled(error: BaseException) -> bool:
    """Returns whether the error cancels the current task. The project's code may raise CancelledError by itself."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def describe_error(error: BaseException) -> dict[str, str]:
    """Returns the error in the form of events and records: `error`, which is its type, and `message`.

    Describes the first error of a group, followed by the number of the others. If the exception's attributes
    can't be read, the message has only the type.
    """
    try:
        return _describe(error)
    except BaseException:  # of the class of the exception
        kind = type(error).__name__
        return {"error": kind, "message": f"{kind} was raised, and its attributes can't be read"}


def _describe(error: BaseException) -> dict[str, str]:
    first, *others = _errors_in(error)
    message = _message(first)
    if others:
        listed = "; ".join(
            f"{type(e).__name__}: {truncate(_message(e), 200)}" for e in others[:MAX_OTHERS]
        )
        more = "; …" if len(others) > MAX_OTHERS else ""
        count = "another error" if len(others) == 1 else f"{len(others)} other errors"
        message = f"{message} (and {count}: {listed}{more})"
    return {"error": type(first).__name__, "message": truncate(message, MAX_MESSAGE_CHARS)}


def summarise_error(error: BaseException) -> str:
    """Returns one line: the type, the message, and the node and line that raised the error."""
    described, origin = describe_error(error), str(origin_of(error))
    message = truncate(" ".join(described["message"].split()), 500)
    suffix = f" ({origin})" if origin and origin not in message else ""
    return f"{described['error']}: {message}{suffix}"


def traceback_of(error: BaseException) -> str:
    """Returns the traceback from the project's first line on, with the causes of the error."""
    try:
        described = traceback.TracebackException.from_exception(error, lookup_lines=False)
        _skip_machinery(described, seen=set())
        lines = "".join(described.format())
    except BaseException as reason:  # as in describe_error
        lines = f"{type(error).__name__} (its traceback can't be read: {type(reason).__name__})"
    lines = escape_controls(replace_surrogates(lines)).rstrip()
    if len(lines) <= MAX_TRACEBACK_CHARS:
        return lines
    half = MAX_TRACEBACK_CHARS // 2
    return f"{lines[:half]}\n… ({len(lines)} characters)\n{lines[-half:]}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The node and the line that raised an exception, as far as they are known."""

    nodes: tuple[str, ...]  # from the root graph's node to that of the innermost subgraph
    file: str  # '' if the traceback has no line of the project
    line: int

    def __str__(self) -> str:
        parts = []
        if self.nodes:
            *graphs, node = map(repr, self.nodes)
            parts.append(f"node {node}" + (f" of subgraph {'/'.join(graphs)}" if graphs else ""))
        if self.file:
            parts.append(f"line {self.line} of {Path(self.file).name}")
        return ", ".join(parts)


def origin_of(error: BaseException) -> Origin:
    """Returns the origin of the error, or of the first error of a group."""
    try:
        return _find_origin(error)
    except BaseException:  # as in describe_error
        return Origin((), "", 0)


def _find_origin(error: BaseException) -> Origin:
    first = next(_errors_in(error))
    nodes = _nodes_of(first) or _nodes_of(error)
    frames = list(traceback.walk_tb(first.__traceback__))
    if first is not error:
        frames = [*traceback.walk_tb(error.__traceback__), *frames]
    lines = [(frame.f_code.co_filename, line) for frame, line in frames]
    project_lines = [(file, line) for file, line in lines if _is_of_project(file)]
    file, line = project_lines[-1] if project_lines else ("", 0)
    return Origin(nodes, file, line)


def _nodes_of(error: BaseException) -> tuple[str, ...]:
    notes = getattr(error, "__notes__", None)
    matches = [_NODE.match(note) for note in notes or () if isinstance(note, str)]
    return tuple(replace_surrogates(match["node"]) for match in reversed(matches) if match)


def _is_of_project(file: str) -> bool:
    """Returns whether a file is the project's: neither a library's nor generated."""
    return not file.startswith(("<", *_LIBRARIES))


def _errors_in(error: BaseException) -> Iterator[BaseException]:
    """Yields the errors in a group and its inner groups, or the error itself. Skips repeated types with a text."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    remaining: list[BaseException] = [error]
    yielded: set[tuple[type[BaseException], str]] = set()
    count = 0
    while remaining and count < MAX_GROUP_ERRORS:
        inner = remaining.pop(0)
        if isinstance(inner, BaseExceptionGroup):
            remaining[:0] = inner.exceptions
            continue
        count += 1
        key = type(inner), convert_safely(str, inner)
        if key not in yielded:
            yielded.add(key)
            yield inner


def _message(error: BaseException) -> str:
    """Returns the exception's text, or a sentence if the text says too little."""
    text = escape_controls(convert_safely(str, error))
    if text == f"<{type(error).__name__}>":
        return _with_origin(
            error, f"{type(error).__name__} was raised, and its message can't be read"
        )
    if isinstance(error, asyncio.CancelledError):
        return _with_origin(error, SELF_CANCELLED)
    if isinstance(error, SystemExit):
        return _with_origin(error, f"sys.exit({convert_safely(repr, error.code)}) was called")
    if not text.strip():
        return _with_origin(error, f"{type(error).__name__} was raised without a message")
    if (
        isinstance(error, KeyError)
        and type(error).__str__ is KeyError.__str__
        and len(error.args) == 1
    ):
        key = error.args[0]
        if isinstance(key, str) and " " in key.strip():
            # A sentence, which KeyError's text has in quotes.
            return escape_controls(replace_surrogates(key))
        return _with_origin(error, f"there is no key {text}")
    if isinstance(error, GraphRecursionError):
        return (
            f"{text}\nIn a request, set the limit in `config.recursion_limit`, for example "
            '{"config": {"recursion_limit": 100}}.'
        )
    if isinstance(error, RecursionError | MemoryError):
        return _with_origin(error, text)
    return _POINTER.sub("", text)


def _with_origin(error: BaseException, sentence: str) -> str:
    origin = str(origin_of(error))
    return f"{sentence} ({origin})" if origin else sentence


def _skip_machinery(described: traceback.TracebackException | None, *, seen: set[int]) -> None:
    """Removes the frames before the project's first one, also from causes and from a group's errors."""
    if described is None or id(described) in seen:
        return
    seen.add(id(described))
    files = [frame.filename for frame in described.stack]
    of_project = [index for index, file in enumerate(files) if _is_of_project(file)]
    external = [index for index, file in enumerate(files) if not _MACHINERY.search(file)]
    if first := (of_project or external)[:1]:
        described.stack[:] = list(described.stack)[first[0] :]
    related = (described.__cause__, described.__context__, *(described.exceptions or ()))
    for inner in related:
        _skip_machinery(inner, seen=seen)
