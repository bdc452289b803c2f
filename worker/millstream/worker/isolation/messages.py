"""The messages between a worker and a child process that executes one of its runs.

Each message is msgpack, on the socket pair of shared/child_process.py.
"""

import asyncio
from typing import Any, Final, Literal

import msgspec

from millstream.shared.child_process import frame, read_frame
from millstream.shared.scripts import Claim
from millstream.shared.tracing.context import NO_TRACE, TraceContext
from millstream.worker.graph_result import GraphResult
from millstream.worker.stop_reason import StopReason


class Execute(msgspec.Struct, tag=True, frozen=True):
    """To the child: execute the graph of this run."""

    claim: Claim
    attempt: TraceContext = NO_TRACE  # the span that the graph's spans are below
    observed: bool = False  # whether the worker has an observer, so that the child sends reports


class Stop(msgspec.Struct, tag=True, frozen=True):
    """To the child: stop the graph (Execution.stop)."""

    reason: StopReason


class Ready(msgspec.Struct, tag=True, frozen=True):
    """From the child: the project is loaded and Redis is connected."""


class Report(msgspec.Struct, tag=True, frozen=True):
    """From the child: a report for the worker's observer."""

    method: Literal["appended", "checkpoint_stored", "step_ended", "write_refused"]
    arguments: list[Any]


class Ended(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """From the child: the run's execution has ended, though its graph may not have stopped."""

    result: GraphResult
    reason: StopReason | None  # why the graph was stopped
    items: list[Any]  # of Unsent: names as str, data as bytes
    batches: int
    index: int
    refused: bool
    is_idle: bool  # the graph has stopped, so the process may execute another run


Message = Execute | Stop | Ready | Report | Ended

encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Message).decode


def decode(data: bytes) -> Message:
    """Returns the message with this data."""
    message: Message = _decode(data)
    return message


def write(writer: asyncio.StreamWriter, message: Message) -> None:
    """Writes the message; it is lost if the other process has died."""
    writer.write(frame(encode(message)))


async def read(reader: asyncio.StreamReader) -> Message | None:
    """Returns the next message, or None once the other side has closed the socket."""
    data = await read_frame(reader)
    return None if data is None else decode(data)
