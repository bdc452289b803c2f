"""Limits the bytes of the records on one page of a list, before they are read."""

from collections.abc import Sequence
from typing import Final

from millstream.shared.errors import TooLargeError
from millstream.shared.redis import Client

MAX_PAGE_BYTES: Final = 64 * 1024 * 1024


async def record_sizes(redis: Client, keys: Sequence[str], fields: Sequence[str]) -> list[int]:
    """Returns the bytes of these fields in each record, in one round trip. A missing record has none."""
    pipe = redis.pipeline(transaction=False)
    for key in keys:
        for field in fields:
            pipe.hstrlen(key, field)
    sizes = await pipe.execute()
    return [sum(sizes[at : at + len(fields)]) for at in range(0, len(sizes), len(fields))]


async def check_page(
    redis: Client, keys: Sequence[str], fields: Sequence[str], *, max_bytes: int, remedy: str
) -> None:
    """Raises TooLargeError, with the remedy, if the fields have more bytes than allowed in all records together."""
    if keys and sum(await record_sizes(redis, keys, fields)) > max_bytes:
        raise TooLargeError(f"The list exceeds {max_bytes} bytes: {remedy}")
