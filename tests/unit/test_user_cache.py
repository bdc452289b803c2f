"""The users of recent requests, by the headers that `auth.cache` names."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from millstream.api.auth.user_cache import UserCache
from millstream.shared.access import User
from millstream.shared.langgraph_json.auth import UserCacheConfig

ADA = User.of({"identity": "ada"})


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def cache(clock: Clock | None = None, **config: Any) -> UserCache:
    return UserCache(
        UserCacheConfig(**{"cache_keys": ["Authorization", "x-org"], **config}), clock or Clock()
    )


def key(users: UserCache, *headers: tuple[str, str]) -> bytes:
    result = users.key_of(Headers(raw=[(n.encode(), v.encode("latin-1")) for n, v in headers]))
    assert result is not None
    return result


def test_a_user_is_found_by_the_same_headers_until_it_is_too_old() -> None:
    clock = Clock()
    users = cache(clock, ttl_seconds=30)
    first = key(users, ("authorization", "a"), ("accept", "x"))
    assert users.get(first) is None
    users.put(first, ADA)
    clock.now += 29.9
    assert users.get(key(users, ("accept", "y"), ("authorization", "a"))) is ADA
    clock.now += 0.1
    assert users.get(first) is None
    assert not users._users


OTHERS = [
    [("authorization", "b")],
    [("authorization", "a"), ("x-org", "")],
    [("authorization", "a"), ("x-org", "1")],
    [("x-org", "a")],
    [("authorization", "a"), ("authorization", "a")],
    [("authorization", "a;1:b")],
    [("authorization", "a\xe9")],
]


def test_other_headers_have_other_keys() -> None:
    users = cache()
    keys = [key(users, ("authorization", "a")), *(key(users, *headers) for headers in OTHERS)]
    assert len(set(keys)) == len(keys)


def test_a_key_does_not_have_the_credential() -> None:
    assert b"secret-token" not in key(cache(), ("authorization", "secret-token"))


def test_a_request_without_the_headers_is_not_cached() -> None:
    assert cache().key_of(Headers({"accept": "x"})) is None


def test_a_full_cache_drops_its_oldest_user() -> None:
    users = cache(max_size=2)
    keys = [key(users, ("authorization", str(number))) for number in range(3)]
    users.put(keys[0], ADA)
    users.put(keys[1], ADA)
    users.put(keys[0], ADA)  # is young again
    users.put(keys[2], ADA)
    assert [users.get(each) is not None for each in keys] == [True, False, True]


@pytest.mark.parametrize("header", ["AUTHORIZATION", "authorization"])
def test_the_names_of_headers_have_no_case(header: str) -> None:
    users = cache()
    assert key(users, (header.lower(), "a")) == key(
        cache(cache_keys=[header, header.lower(), "x-org"]), ("authorization", "a")
    )
