"""Counts the values of a JSON text before it is decoded.

A value of two bytes becomes an object of 64 bytes or more, and the decoder holds up the event loop until it has made
all of them, whichever thread it runs in.
"""

from typing import Final

SLICE_BYTES: Final = 64 * 1024  # after each slice, another thread may run
BEFORE_VALUES: Final = (b"[", b"{", b",", b":")


def count_values(data: bytes, max_values: int) -> int:
    """Returns how many values and names a JSON text has at most; stops counting after `max_values`.

    Strings may hold the characters that separate values, so the strings of a large text are left out. Of a text that
    is not JSON, the number is at least that of the values before its error.
    """
    if sum(map(data.count, BEFORE_VALUES)) < max_values and len(data) <= SLICE_BYTES:
        return sum(map(data.count, BEFORE_VALUES)) + 1
    count, at, is_string = 1, 0, False
    while at < len(data) and count <= max_values:
        part = data[at : at + SLICE_BYTES]
        if (len(part) - len(part.rstrip(b"\\"))) % 2:  # an escape is not cut
            part = data[at : at + SLICE_BYTES + 1]
        at += len(part)
        texts = part.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(texts[1 if is_string else 0 :: 2])
        count += sum(map(outside.count, BEFORE_VALUES))
        is_string ^= len(texts) % 2 == 0
    return count
