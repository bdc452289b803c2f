"""The errors of an unavailable Redis, and of one that rejects commands: it takes no writes, or denies a permission."""

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
    """Redis takes no writes now: its disk is full, or it has too few replicas."""


UNAVAILABLE = (RedisConnectionError, RedisTimeoutError, OSError)
# Redis answers but rejects the command: out of memory, a replica, a full disk, a missing permission.
WRITES_REJECTED = (OutOfMemoryError, ReadOnlyError, RefusedWriteError, NoPermissionError)

# In both cases the call may succeed later.
OUTAGE_ERRORS = (*UNAVAILABLE, *WRITES_REJECTED)

# Redis 6 wraps errors inside a script: "Error running script (…): …: -READONLY You …".
_CODE: Final = re.compile(r"(?:^|: -)(READONLY|UNBLOCKED|OOM|NOREPLICAS|MISCONF|NOPERM) ")
# Errors inside a script without a code: the texts of Redis 6, and of 7 and newer.
_NOT_ALLOWED: Final = re.compile(r"The user executing the script can't |ACL failure in script")
_KINDS: Final[dict[str, type[ResponseError]]] = {
    "READONLY": ReadOnlyError,
    "UNBLOCKED": ReadOnlyError,  # for a blocking command when the master becomes a replica
    "OOM": OutOfMemoryError,
    "NOREPLICAS": RefusedWriteError,
    "MISCONF": RefusedWriteError,
    "NOPERM": NoPermissionError,
}


def classify(error: ResponseError) -> ResponseError:
    """Returns the error as one of WRITES_REJECTED, if redis-py raised it as a plain ResponseError."""
    if isinstance(error, WRITES_REJECTED):
        return error
    text = str(error)
    if code := _CODE.search(text):
        return _KINDS[code[1]](text)
    return NoPermissionError(text) if _NOT_ALLOWED.search(text) else error


def to_unavailable(error: Exception) -> UnavailableError:
    """Returns the error for clients, of any protocol, that stands for one of OUTAGE_ERRORS."""
    if isinstance(error, UNAVAILABLE):
        return UnavailableError("Redis is not reachable. Try again shortly.")
    if isinstance(error, NoPermissionError):
        text = "The server's user of Redis lacks a permission: `GET /ok` says which."
    else:
        text = "Redis takes no writes now: `GET /ok` says why. Try again later."
    return UnavailableError(text, retry_after=5)
