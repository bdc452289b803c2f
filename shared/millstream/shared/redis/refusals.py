"""In which ways Redis is away, or is there and takes no writes."""

import re
from typing import Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError


class RefusedWriteError(ResponseError):
    """Redis takes no writes now: its disk is full, or too few replicas follow."""


AWAY = (RedisConnectionError, RedisTimeoutError, OSError)
# It is there, but takes no writes: out of memory, a replica, a disk that is full.
REFUSING = (OutOfMemoryError, ReadOnlyError, RefusedWriteError)

# Redis 6 wraps what went wrong inside a script: "Error running script (…): …: -READONLY You …".
_CODE: Final = re.compile(r"(?:^|: -)(READONLY|UNBLOCKED|OOM|NOREPLICAS|MISCONF) ")
_KINDS: Final[dict[str, type[ResponseError]]] = {
    "READONLY": ReadOnlyError,
    "UNBLOCKED": ReadOnlyError,  # of a blocking call, as the master became a replica
    "OOM": OutOfMemoryError,
    "NOREPLICAS": RefusedWriteError,
    "MISCONF": RefusedWriteError,
}


def named(error: ResponseError) -> ResponseError:
    """Returns the error as one of REFUSING if it is one that redis-py does not tell apart."""
    found = None if isinstance(error, REFUSING) else _CODE.search(str(error))
    return _KINDS[found[1]](str(error)) if found else error
