"""The result of a graph's execution, from which the records of its run and its thread are written."""

from typing import Any, Final

import msgspec
from langgraph.types import Interrupt
from msgspec import structs

from millstream.worker.encode import encode
from millstream.worker.final_record import ExitKind

INTERRUPT: Final = "__interrupt__"  # LangGraph's key for the interrupts of a paused run


class NewestValues:
    """The newest values of the root graph's state in the events of its stream."""

    def __init__(self) -> None:
        """Starts without values."""
        self.is_known = False
        self.values: Any = None
        self._json: bytes | None = None

    def set(self, values: Any, as_json: bytes | None = None) -> None:
        """Stores the values of an event without its interrupts; `as_json` is their JSON if it is known."""
        if has_interrupts(values):
            values, as_json = {k: v for k, v in values.items() if k != INTERRUPT}, None
            if not values:  # a graph whose values are no mapping streams its interrupts alone
                return
        self.is_known, self.values, self._json = True, values, as_json

    def to_json(self) -> bytes | None:
        """Returns the values as JSON, or None without values."""
        if not self.is_known:
            return None
        return self._json or encode(self.values)


def has_interrupts(payload: Any) -> bool:
    """Returns whether a `values` or `updates` chunk of LangGraph says that the graph paused.

    A value of the project may have the same key, but only LangGraph's value is a tuple of interrupts.
    """
    interrupts = payload.get(INTERRUPT) if isinstance(payload, dict) else None
    return isinstance(interrupts, tuple) and all(isinstance(i, Interrupt) for i in interrupts)


class GraphResult(msgspec.Struct, kw_only=True, array_like=True):
    """How a graph's execution ended, and the thread's state after it. A child process sends it as msgpack."""

    kind: ExitKind
    error: dict[str, str] | None = None
    values: bytes | None = None  # JSON of the state; None if the state may be as it was
    output: bytes | None = None  # JSON of the state's output channels; None: all of `values`
    paused_output: bytes | None = None  # JSON of the output with the run's interrupts
    interrupts: bytes | None = None  # JSON: task id → its interrupts; None: as they were
    has_next: bool | None = None  # whether nodes are left to execute; None: the state was not read
    # Events for the run's interrupts (name as str, JSON as bytes, …). The script that ends the run also appends
    # them: a client that answers at once must find the run ended.
    input_events: tuple[Any, ...] = ()
    refused: bool = False  # the graph did nothing: the thread's record must not change

    @property
    def output_field(self) -> bytes:
        """The field `output` of the thread's record: JSON of the output, or b"" if it equals the values."""
        return b"" if self.output is None or self.output == self.values else self.output

    def limit_size(self, max_bytes: int) -> "GraphResult":
        """Returns the result with an error in place of a state that is too large for the records.

        The checkpoint holds the whole state.
        """
        parts = (self.values, self.output, self.paused_output, self.interrupts)
        size = max(len(part or b"") for part in parts)
        if size <= max_bytes:
            return self
        message = f"The state has {size} bytes and is left out here: STREAM_MAX_EVENT_BYTES is {max_bytes}."
        body: dict[str, Any] = {"__error__": {"error": "StateTooLarge", "message": message}}
        if self.kind is ExitKind.PAUSED:
            body[INTERRUPT] = []
        interrupts = self.interrupts
        if interrupts is not None and len(interrupts) > max_bytes:
            interrupts = b"{}"
        output = encode(body)
        values = None if self.values is None else b""
        return structs.replace(
            self, values=values, output=output, paused_output=output, interrupts=interrupts
        )
