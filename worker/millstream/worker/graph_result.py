"""What the execution of a graph leaves for the record of its run and of its thread."""

from typing import Any, Final

import msgspec
from langgraph.types import Interrupt
from msgspec import structs

from millstream.worker.encode import encode
from millstream.worker.final_record import ExitKind

INTERRUPT: Final = "__interrupt__"  # LangGraph's key for what a run waits for


class Newest:
    """The newest state of the root graph that its events told."""

    def __init__(self) -> None:
        """No state has been told yet."""
        self.is_known = False
        self.values: Any = None
        self._json: bytes | None = None

    def note(self, values: Any, as_json: bytes | None = None) -> None:
        """Keeps the values of an event, and their JSON if it is known; questions are no values."""
        if asks(values):
            values, as_json = {k: v for k, v in values.items() if k != INTERRUPT}, None
            if not values:  # of a graph whose values are not a mapping, the questions come alone
                return
        self.is_known, self.values, self._json = True, values, as_json

    def encoded(self) -> bytes | None:
        """Returns the values as JSON, None if none were told."""
        if not self.is_known:
            return None
        return self._json or encode(self.values)


def asks(payload: Any) -> bool:
    """Returns whether a `values` or `updates` chunk of LangGraph's says that the graph stopped.

    A value of the user's may have that key too; only LangGraph's is a tuple of interrupts.
    """
    asked = payload.get(INTERRUPT) if isinstance(payload, dict) else None
    return isinstance(asked, tuple) and all(isinstance(each, Interrupt) for each in asked)


class GraphResult(msgspec.Struct, kw_only=True, array_like=True):
    """How the graph came to its end, and what it left. It crosses from a child process as msgpack."""

    how: ExitKind
    error: dict[str, str] | None = None
    values: bytes | None = None  # JSON of the state, None if it is not known to have changed
    # JSON that wait answers with: what the output schema has of the state (None: all of it), and the
    # same with what the run waits for.
    output: bytes | None = None
    pause: bytes | None = None
    interrupts: bytes | None = None  # JSON: task id → its interrupts; None: as they were
    waits: bool | None = None  # whether nodes are left to run; None: nobody has read the state
    # Events that tell what is asked (name as str, JSON as bytes, …), written in the step that ends the
    # run: an answer that a client sends at once must not be too early.
    asked: tuple[Any, ...] = ()
    refused: bool = False  # before anything was done: the thread is as it was

    @property
    def hidden_output(self) -> bytes:
        """What the thread's record says of a state that wait does not answer with as a whole: JSON of what
        it answers with, b"" if that is all."""
        return b"" if self.output is None or self.output == self.values else self.output

    def bounded(self, most: int) -> "GraphResult":
        """Returns what can be kept with records of at most `most` bytes: the checkpoint has all."""
        parts = (self.values, self.output, self.pause, self.interrupts)
        size = max(len(part or b"") for part in parts)
        if size <= most:
            return self
        message = (
            f"The state takes {size} bytes and is not shown here: STREAM_MAX_EVENT_BYTES is {most}."
        )
        shown: dict[str, Any] = {"__error__": {"error": "StateTooLarge", "message": message}}
        if self.how is ExitKind.PAUSED:
            shown[INTERRUPT] = []
        interrupts = self.interrupts
        if interrupts is not None and len(interrupts) > most:
            interrupts = b"{}"
        told = encode(shown)
        values = None if self.values is None else b""
        return structs.replace(self, values=values, output=told, pause=told, interrupts=interrupts)
