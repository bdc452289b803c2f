"""Which tests need RediSearch and RedisJSON: the store's, and those of the library's checkpointer."""

import pytest

from millstream.cli.embedded import find_server


def require_modules() -> None:
    """Skips the test on a Redis that was chosen without modules (MILLSTREAM_REDIS_SERVER)."""
    if not find_server().modules:
        pytest.skip("this Redis has no modules")
