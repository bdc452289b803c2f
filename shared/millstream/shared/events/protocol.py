"""The event streaming protocol (v2 of the API): the names of its events, and their positions in a run's stream.

Source: langchain_protocol, and the LangGraph Platform API. A run that a command started stores the protocol's
events, each named `@<method>` with its `params` as data. Clients of both kinds use some events of every run:
`metadata` and `end` begin and end the root's lifecycle, and `@input.requested` has the interrupts of a pause.
"""

from typing import Any, Final

import msgspec

from millstream.shared.events.entries import Entry, Position
from millstream.shared.events.modes import MODES, Form

MARK: Final = "@"  # prefix of the name of an entry that is an event of the protocol
MARKED: Final = MARK.encode()
INPUT_REQUESTED: Final = "input.requested"
# The stream modes of a run that a command started, and the channels of their events.
COMMAND_MODES: Final = tuple(mode.name for mode in MODES.values() if mode.channel)
MODE_CHANNELS: Final = tuple(mode.channel for mode in MODES.values() if mode.channel)
CHANNELS: Final = (*MODE_CHANNELS, "input")
# The modes whose events both kinds of streams have, by channel and by the event's name in the stream of a run.
BY_METHOD: Final = {
    mode.channel.encode(): mode for mode in MODES.values() if mode.channel and mode.form
}
METHOD_AND_FORM: Final = {
    mode.events[0].encode(): (mode.channel.encode(), mode.form)
    for mode in MODES.values()
    if mode.channel and mode.form
}
CUSTOM_PREFIX: Final = "custom:"  # of the channel of custom events that have one name
INDEX_BITS: Final = (
    30  # of `seq`, for the index in a segment; 23 bits of a JavaScript integer remain for segments
)
LAST_SEQ: Final = 2**53 - 1


def seq_of(position: Position) -> int:
    """Returns the protocol's `seq` of an event, which rises over all segments of a thread, with gaps between them."""
    seq, index = position
    return (seq << INDEX_BITS) + index


def position_of(seq: int) -> Position:
    """Returns the position that has this `seq`."""
    return seq >> INDEX_BITS, seq & ((1 << INDEX_BITS) - 1)


class Params(msgspec.Struct):
    """The data of an entry of the protocol; `data` in it is JSON that is not decoded."""

    namespace: list[str]
    timestamp: int  # ms since the epoch
    data: msgspec.Raw


class _Update(msgspec.Struct):
    values: msgspec.Raw
    node: str = ""


class _Custom(msgspec.Struct):
    payload: msgspec.Raw


decode_params: Final = msgspec.json.Decoder(Params).decode
_update = msgspec.json.Decoder(_Update).decode
_custom = msgspec.json.Decoder(_Custom).decode


def to_run_event(entry: Entry) -> Entry | None:
    """Returns the entry in the form of a run's stream; None for an event that only the protocol has."""
    if not entry.event.startswith(MARKED):
        return entry
    mode = BY_METHOD.get(entry.event[len(MARK) :])
    if mode is None:
        return None
    params = decode_params(entry.data)
    data: Any = params.data
    if mode.form is Form.NODE:
        update = _update(params.data)
        data = {update.node: update.values}
    elif mode.form is Form.PAYLOAD:
        data = _custom(params.data).payload
    name = mode.event_name(params.namespace)
    return Entry(entry.position, name.encode(), msgspec.json.encode(data))
