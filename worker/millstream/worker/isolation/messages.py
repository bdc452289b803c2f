"""What a worker and a process that executes one of its runs say to one another.

Each message is msgpack behind its size (4 bytes, big-endian), on a socket that both inherit.
"""

import asyncio
from typing import Any, Final

import msgspec

from millstream.shared.scripts import Claim
from millstream.worker.graph_result import GraphResult
from millstream.worker.stop_reason import StopReason

SIZE: Final = 4  # bytes


class Execute(msgspec.Struct, tag=True, frozen=True):
    """To the process: execute the graph of this run."""

    claim: Claim


class Stop(msgspec.Struct, tag=True, frozen=True):
    """To the process: stop the graph (Execution.stop)."""

    reason: StopReason


class Ready(msgspec.Struct, tag=True, frozen=True):
    """From the process: the project is loaded, and Redis is reached."""


class Ended(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """From the process: the graph has ended, or was left behind because it does not stop."""

    ending: GraphResult
    reason: StopReason | None  # why it was stopped
    words: list[Any]  # of Unsent: names as str, data as bytes
    batches: int
    index: int
    refused: bool
    is_idle: bool  # nothing of the run is left in the process, so it may execute another one


Message = Execute | Stop | Ready | Ended

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Message).decode


def write(writer: asyncio.StreamWriter, message: Message) -> None:
    """Writes the message; one to a process that has died goes nowhere."""
    data = _encode(message)
    writer.write(len(data).to_bytes(SIZE, "big") + data)


async def read(reader: asyncio.StreamReader) -> Message | None:
    """Returns the next message, or None once the other side has gone."""
    try:
        size = int.from_bytes(await reader.readexactly(SIZE), "big")
        message: Message = _decode(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return message
