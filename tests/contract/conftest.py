"""Clients for contract tests: empty at the start, without a leaked key at the end."""

from collections.abc import AsyncIterator
from typing import Any

import fakeredis
import pytest

from harness.leaks import leaked
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import Client, connect
from millstream.shared.scripts.script import Script


async def on_real_server(server: EmbeddedRedis) -> AsyncIterator[Client]:
    client = connect(server.url.rpartition("/")[0] + "/1")
    await client.flushdb()
    try:
        yield client
        assert await leaked(client) == []
    finally:
        await client.aclose()


@pytest.fixture
async def real_redis(redis_server: EmbeddedRedis) -> AsyncIterator[Client]:
    """A client on an empty database of the real server; after the test no key may be left over."""
    async for client in on_real_server(redis_server):
        yield client


@pytest.fixture(params=["fakeredis", "real"])
async def any_redis(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """The same test on fakeredis and on a real server; after it no key may be left over."""
    if request.param == "real":
        async for client in on_real_server(request.getfixturevalue("redis_server")):
            yield client
    else:
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        yield client
        assert await leaked(client) == []
        await client.aclose()


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the scripts replied, newest last: the words that the typed functions make sense of."""
    heard: list[Any] = []
    call = Script.__call__

    async def listen(self: Script, redis: Client, /, **given: Any) -> Any:
        heard.append(await call(self, redis, **given))
        return heard[-1]

    monkeypatch.setattr(Script, "__call__", listen)
    return heard
