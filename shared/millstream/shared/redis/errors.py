"""In which ways Redis is away, or is there and refuses: it takes no writes, or its user may not."""

import re
from typing import Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from millstream.shared.errors import UnavailableError


class RefusedWriteError(ResponseError):
    """Redis takes no writes now: its disk is full, or too few replicas follow."""


UNAVAILABLE = (RedisConnectionError, RedisTimeoutError, OSError)
# It is there, but refuses: out of memory, a replica, a disk that is full, a user without permission.
WRITES_REJECTED = (OutOfMemoryError, ReadOnlyError, RefusedWriteError, NoPermissionError)

# Either way Redis is of no use now: the call may succeed later.
OUTAGE_ERRORS = (*UNAVAILABLE, *WRITES_REJECTED)

# Redis 6 wraps what went wrong inside a script: "Error running script (…): …: -READONLY You …".
_CODE: Final = re.compile(r"(?:^|: -)(READONLY|UNBLOCKED|OOM|NOREPLICAS|MISCONF|NOPERM) ")
# Inside a script there is no code for it; the words are those of Redis 6, and of 7 and newer.
_NOT_ALLOWED: Final = re.compile(r"The user executing the script can't |ACL failure in script")
_KINDS: Final[dict[str, type[ResponseError]]] = {
    "READONLY": ReadOnlyError,
    "UNBLOCKED": ReadOnlyError,  # of a blocking call, as the master became a replica
    "OOM": OutOfMemoryError,
    "NOREPLICAS": RefusedWriteError,
    "MISCONF": RefusedWriteError,
    "NOPERM": NoPermissionError,
}


def named(error: ResponseError) -> ResponseError:
    """Returns the error as one of WRITES_REJECTED if it is one that redis-py does not tell apart."""
    if isinstance(error, WRITES_REJECTED):
        return error
    text = str(error)
    if found := _CODE.search(text):
        return _KINDS[found[1]](text)
    return NoPermissionError(text) if _NOT_ALLOWED.search(text) else error


def to_unavailable(error: Exception) -> UnavailableError:
    """Returns what a client gets for one of OUTAGE_ERRORS, however it talks to the server."""
    if isinstance(error, UNAVAILABLE):
        return UnavailableError("Redis is not reachable. Try again shortly.")
    if isinstance(error, NoPermissionError):
        text = "The server's user of Redis lacks a permission: `GET /ok` says which."
    else:
        text = "Redis takes no writes now: `GET /ok` says why. Try again later."
    return UnavailableError(text, retry_after=5)
