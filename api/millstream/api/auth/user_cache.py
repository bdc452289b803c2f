"""The users of recent requests, by the headers that identify them: `auth.cache` of langgraph.json."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers

from millstream.shared.access import User
from millstream.shared.langgraph_json.auth import UserCacheConfig

DIGEST_BYTES: Final = 32


class UserCache:
    """Keeps users for a time. It has no denials: a client whose credentials become valid is let in at once.

    A credential that is revoked is accepted until its entry is too old.
    """

    def __init__(
        self, config: UserCacheConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` returns seconds."""
        self._names = sorted({name.lower() for name in config.cache_keys})
        self._seconds = config.ttl_seconds
        self._max_users = config.max_size
        self._clock = clock
        self._users: OrderedDict[bytes, tuple[float, User]] = OrderedDict()

    def key_of(self, headers: Headers) -> bytes | None:
        """Returns the key of a request; None if it has none of the headers, so that it can't be cached.

        It is a digest, so the memory of the process holds no credentials because of the cache.
        """
        values = [headers.getlist(name) for name in self._names]
        if not any(values):
            return None
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for each in values:
            for value in each:
                data = value.encode("latin-1")
                digest.update(b"%d:" % len(data) + data)
            digest.update(b";")  # no length begins with it
        return digest.digest()

    def get(self, key: bytes) -> User | None:
        """Returns the user; None if the cache has none that is young enough."""
        entry = self._users.get(key)
        if entry is None:
            return None
        until, user = entry
        if until <= self._clock():
            del self._users[key]
            return None
        return user

    def put(self, key: bytes, user: User) -> None:
        """Stores a user, and drops the oldest entries beyond the limit."""
        self._users[key] = (self._clock() + self._seconds, user)
        self._users.move_to_end(key)
        while len(self._users) > self._max_users:
            self._users.popitem(last=False)
