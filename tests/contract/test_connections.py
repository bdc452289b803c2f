"""Connections that close under the hands of those who write to them."""

import asyncio
from typing import Any

import pytest
import uvloop

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import UNAVAILABLE, connect


def test_writing_on_a_closed_connection_is_an_outage(redis_server: EmbeddedRedis) -> None:
    """On the loop that API and workers run on, which has a word of its own for it."""

    async def write() -> None:
        client = connect(redis_server.url)
        connection: Any = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()
        connection._writer.transport.abort()
        await asyncio.sleep(0)  # the loop closes it in its next round
        with pytest.raises(UNAVAILABLE):
            await connection.send_command("PING")
        await connection.disconnect(nowait=True)
        await client.aclose()

    uvloop.run(write())
