"""What is told of an exception: its type and a message to clients, and to the log where it was raised.

A message is the exception's own text, as the reference server has it. Where that text does not stand
by itself (it is empty, or the bare key of a KeyError), the message says what happened, in which node
and on which line. See docs/decisions/0036.
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

MAX_MESSAGE_CHARS: Final = 100_000  # characters of an error message that are told
LOGGED: Final = 20_000  # characters of a traceback in the log
OTHERS: Final = 3  # further errors of a group that are told
MOST_LEAVES: Final = 100  # errors of a group that are looked at

SELF_CANCELLED: Final = (
    "The graph cancelled itself: its code let an asyncio.CancelledError out that no client asked for. "
    "Look for a task that is cancelled and then awaited."
)

# LangGraph's notes: the innermost node's is the first.
_NODE: Final = re.compile(
    r"(?:During|Before) task with name '(?P<node>.*)' and (?:id|path) ", re.DOTALL
)
# Lines of pydantic and httpx that point to a general page and say nothing of this error.
_POINTER: Final = re.compile(
    r"\n *For (?:further information visit|more information check:) https?://\S+"
)
_LIBRARIES: Final = tuple(
    {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(Path(__file__).parents[1])}
)
# Between a node and its caller in every traceback; a project may itself be installed beside them.
_MACHINERY: Final = re.compile(
    r"[/\\](?:langgraph|langchain_core|millstream|asyncio|concurrent)[/\\]"
)


def is_cancelled(error: BaseException) -> bool:
    """Returns whether the error is the cancel of the current task, and not one that the project's code
    let out without being asked to."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def error_of(error: BaseException) -> dict[str, str]:
    """Returns the error as clients see it in events and records: `error`, its type, and `message`.

    Of a group it is the first error in it; how many others there were is told behind it. Of an
    exception that can't even be looked at, the type is told.
    """
    try:
        return _told(error)
    except BaseException:  # whatever its class makes of its attributes
        kind = type(error).__name__
        return {"error": kind, "message": f"{kind} was raised, and it can't be looked at"}


def _told(error: BaseException) -> dict[str, str]:
    first, *others = _leaves(error)
    message = _message(first)
    if others:
        shown = "; ".join(
            f"{type(e).__name__}: {truncate(_message(e), 200)}" for e in others[:OTHERS]
        )
        more = "; …" if len(others) > OTHERS else ""
        count = "another error" if len(others) == 1 else f"{len(others)} other errors"
        message = f"{message} (and {count}: {shown}{more})"
    return {"error": type(first).__name__, "message": truncate(message, MAX_MESSAGE_CHARS)}


def summary(error: BaseException) -> str:
    """Returns one line: the type, the message, and where it was raised."""
    told, where = error_of(error), str(where_of(error))
    message = truncate(" ".join(told["message"].split()), 500)
    return f"{told['error']}: {message}" + (f" ({where})" if where and where not in message else "")


def traceback_of(error: BaseException) -> str:
    """Returns the traceback from the project's first line on, with what caused the error."""
    try:
        told = traceback.TracebackException.from_exception(error, lookup_lines=False)
        _skip_machinery(told, seen=set())
        lines = "".join(told.format())
    except BaseException as reason:  # as in error_of
        lines = f"{type(error).__name__} (its traceback can't be shown: {type(reason).__name__})"
    lines = escape_controls(replace_surrogates(lines)).rstrip()
    if len(lines) <= LOGGED:
        return lines
    half = LOGGED // 2
    return f"{lines[:half]}\n… ({len(lines)} characters)\n{lines[-half:]}"


@dataclass(frozen=True, slots=True)
class Where:
    """Where an exception was raised, as far as that is known."""

    nodes: tuple[str, ...]  # from the root graph's node to that of the innermost subgraph
    file: str  # its name, '' if no line of the project is on the traceback
    line: int

    def __str__(self) -> str:
        *graphs, node = map(repr, self.nodes or ("",))
        words = [f"node {node}" + (f" of subgraph {'/'.join(graphs)}" if graphs else "")]
        if not self.nodes:
            words = []
        if self.file:
            words.append(f"line {self.line} of {Path(self.file).name}")
        return ", ".join(words)


def where_of(error: BaseException) -> Where:
    """Returns where the error, or the first one of a group, was raised, as far as that is known."""
    try:
        return _place(error)
    except BaseException:  # as in error_of
        return Where((), "", 0)


def _place(error: BaseException) -> Where:
    first = next(_leaves(error))
    nodes = _nodes(first) or _nodes(error)
    frames = list(traceback.walk_tb(first.__traceback__))
    if first is not error:
        frames = [*traceback.walk_tb(error.__traceback__), *frames]
    own = [(f.f_code.co_filename, line) for f, line in frames if _is_own(f.f_code.co_filename)]
    file, line = own[-1] if own else ("", 0)
    return Where(nodes, file, line)


def _nodes(error: BaseException) -> tuple[str, ...]:
    notes = getattr(error, "__notes__", None)
    found = [_NODE.match(note) for note in notes or () if isinstance(note, str)]
    return tuple(replace_surrogates(match["node"]) for match in reversed(found) if match)


def _is_own(file: str) -> bool:
    """Returns whether a file is the project's: neither a library's nor generated."""
    return not file.startswith(("<", *_LIBRARIES))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yields the errors in a group, those in its groups too, each kind and text once; or the error."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    waiting: list[BaseException] = [error]
    told: set[tuple[type[BaseException], str]] = set()
    looked = 0
    while waiting and looked < MOST_LEAVES:
        one = waiting.pop(0)
        if isinstance(one, BaseExceptionGroup):
            waiting[:0] = one.exceptions
            continue
        looked += 1
        key = type(one), convert_safely(str, one)
        if key not in told:
            told.add(key)
            yield one


def _message(error: BaseException) -> str:
    """Returns the exception's text, or a sentence where its text says nothing."""
    text = escape_controls(convert_safely(str, error))
    if text == f"<{type(error).__name__}>":
        return _placed(error, f"{type(error).__name__} was raised, and its message can't be read")
    if isinstance(error, asyncio.CancelledError):
        return _placed(error, SELF_CANCELLED)
    if isinstance(error, SystemExit):
        return _placed(error, f"sys.exit({convert_safely(repr, error.code)}) was called")
    if not text.strip():
        return _placed(error, f"{type(error).__name__} was raised without a message")
    if (
        isinstance(error, KeyError)
        and type(error).__str__ is KeyError.__str__
        and len(error.args) == 1
    ):
        key = error.args[0]
        if isinstance(key, str) and " " in key.strip():
            return escape_controls(
                replace_surrogates(key)
            )  # a sentence, which KeyError puts in quotes
        return _placed(error, f"there is no key {text}")
    if isinstance(error, GraphRecursionError):
        return (
            f"{text}\nIn a request the limit is `config.recursion_limit`, for example "
            '{"config": {"recursion_limit": 100}}.'
        )
    if isinstance(error, RecursionError | MemoryError):
        return _placed(error, text)
    return _POINTER.sub("", text)


def _placed(error: BaseException, words: str) -> str:
    where = str(where_of(error))
    return f"{words} ({where})" if where else words


def _skip_machinery(told: traceback.TracebackException | None, *, seen: set[int]) -> None:
    """Takes the frames before the project's first one out, of the causes and of a group's errors too."""
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    frames = list(told.stack)
    own = [at for at, frame in enumerate(frames) if _is_own(frame.filename)]
    external = [at for at, frame in enumerate(frames) if not _MACHINERY.search(frame.filename)]
    if first := (own or external)[:1]:
        told.stack[:] = frames[first[0] :]
    for part in (told.__cause__, told.__context__, *(told.exceptions or ())):
        _skip_machinery(part, seen=seen)
