"""RediSearch and RedisJSON, which the store and the library's checkpointer need."""

import pytest

from millstream.cli.embedded import find_server


def require_modules() -> None:
    """Skips the test if the chosen Redis (MILLSTREAM_REDIS_SERVER) has no modules."""
    if not find_server().modules:
        pytest.skip("this Redis has no modules")
