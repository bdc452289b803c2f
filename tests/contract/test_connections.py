"""Connections that close during a write."""

import asyncio
from typing import Any

import pytest
import uvloop

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import UNAVAILABLE, connect


def test_a_write_to_a_closed_connection_counts_as_an_outage(redis_server: EmbeddedRedis) -> None:
    """On uvloop, the event loop of API and workers, which raises another exception for it."""

    async def write() -> None:
        client = connect(redis_server.url)
        connection: Any = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()
        connection._writer.transport.abort()
        await asyncio.sleep(0)  # the event loop closes it in its next iteration
        with pytest.raises(UNAVAILABLE):
            await connection.send_command("PING")
        await connection.disconnect(nowait=True)
        await client.aclose()

    uvloop.run(write())
