"""What the execution of a graph leaves for the record of its run and of its thread."""

from typing import Any, Final

import msgspec

from millstream.worker.encode import encode
from millstream.worker.outcome import How

INTERRUPT: Final = "__interrupt__"  # LangGraph's key for what a run waits for


class Ending(msgspec.Struct, kw_only=True, array_like=True):
    """How the graph came to its end, and what it left. It crosses from a child process as msgpack."""

    how: How
    error: dict[str, str] | None = None
    values: bytes | None = None  # JSON of the state, None if it is not known to have changed
    pause: bytes | None = None  # JSON of the state with what it waits for: answer of wait
    interrupts: bytes = b"{}"  # JSON: task id → its interrupts
    # Events that tell what is asked (name as str, JSON as bytes, …), written in the step that ends the
    # run: an answer that a client sends at once must not be too early.
    asked: tuple[Any, ...] = ()
    refused: bool = False  # before anything was done: the thread is as it was

    def bounded(self, most: int) -> "Ending":
        """Returns what can be kept with records of at most `most` bytes: the checkpoint has all."""
        size = max(len(part or b"") for part in (self.values, self.pause, self.interrupts))
        if size <= most:
            return self
        message = (
            f"The state takes {size} bytes and is not shown here: STREAM_MAX_EVENT_BYTES is {most}."
        )
        shown: dict[str, Any] = {"__error__": {"error": "StateTooLarge", "message": message}}
        if self.how is How.PAUSED:
            shown[INTERRUPT] = []
        told = encode(shown)
        return Ending(how=self.how, error=self.error, values=b"", pause=told, asked=self.asked)
