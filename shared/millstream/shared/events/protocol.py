"""The event streaming protocol (v2 of the API): what its events are called, and where they stand in a run's stream.

Source: langchain_protocol, and the LangGraph Platform API. A run that a command started stores the protocol's
events, each named `@<method>` with its `params` as data. What every run stores serves both kinds of client:
`metadata` and `end` begin and end the root's lifecycle, and `@input.requested` tells what a pause waits for.
"""

from typing import Any, Final

import msgspec

from millstream.shared.events.entries import Entry, Position
from millstream.shared.events.modes import MODES, Form

MARK: Final = "@"  # begins the name of an entry that is an event of the protocol
MARKED: Final = MARK.encode()
INPUT_REQUESTED: Final = "input.requested"
# The stream modes of a run that a command started, and the channels of their events.
COMMAND_MODES: Final = tuple(mode.name for mode in MODES.values() if mode.channel)
MODE_CHANNELS: Final = tuple(mode.channel for mode in MODES.values() if mode.channel)
CHANNELS: Final = (*MODE_CHANNELS, "input")
# The modes whose events both kinds of streams have: by their channel, and by their name in the stream of a run.
BY_METHOD: Final = {
    mode.channel.encode(): mode for mode in MODES.values() if mode.channel and mode.form
}
METHOD_AND_FORM: Final = {
    mode.events[0].encode(): (mode.channel.encode(), mode.form)
    for mode in MODES.values()
    if mode.channel and mode.form
}
NAMED: Final = "custom:"  # begins the channel of custom events of one name
INDEX_BITS: Final = 30  # of a seq: places in one seq; JavaScript counts to 2**53: 2**23 seqs
LAST_SEQ: Final = 2**53 - 1


def seq_of(position: Position) -> int:
    """Returns the `seq` of an event: it rises over all runs of a thread, with gaps between them."""
    seq, index = position
    return (seq << INDEX_BITS) + index


def position_of(seq: int) -> Position:
    """Returns the position of the event with this `seq`, or of the last before it."""
    return seq >> INDEX_BITS, seq & ((1 << INDEX_BITS) - 1)


class Params(msgspec.Struct):
    """What an entry of the protocol holds; `data` is JSON, unread."""

    namespace: list[str]
    timestamp: int  # ms since the epoch
    data: msgspec.Raw


class _Update(msgspec.Struct):
    values: msgspec.Raw
    node: str = ""


class _Custom(msgspec.Struct):
    payload: msgspec.Raw


params_of: Final = msgspec.json.Decoder(Params).decode
_update = msgspec.json.Decoder(_Update).decode
_custom = msgspec.json.Decoder(_Custom).decode


def plain(entry: Entry) -> Entry | None:
    """Returns the entry as the streams of runs show it, where one of the protocol has such a form."""
    if not entry.event.startswith(MARKED):
        return entry
    mode = BY_METHOD.get(entry.event[len(MARK) :])
    if mode is None:
        return None
    params = params_of(entry.data)
    data: Any = params.data
    if mode.form is Form.NODE:
        update = _update(params.data)
        data = {update.node: update.values}
    elif mode.form is Form.PAYLOAD:
        data = _custom(params.data).payload
    name = mode.event_name(params.namespace)
    return Entry(entry.position, name.encode(), msgspec.json.encode(data))
