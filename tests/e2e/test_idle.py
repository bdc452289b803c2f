"""An API process serves a stream after a long idle time."""

import asyncio
import uuid
from pathlib import Path

from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.events.entries import START
from millstream.shared.events.hub import StreamHub
from millstream.shared.redis import connect


async def test_a_stream_starts_after_a_long_idle_time(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, appendonly=False, modules=False) as server:
        redis, blocking = connect(server.url), connect(server.url, reply_timeout=None)
        hub = StreamHub(redis, blocking)
        hub.start()
        try:
            for _ in range(3):
                reader = await hub.open(str(uuid.uuid4()), str(uuid.uuid4()), START, fresh=True)
                await asyncio.wait_for(reader._tail.subscribed.wait(), 5)
                reader.close()
                await until(lambda: not hub._subscriber._channels)
                # As after 30 s: redis-py would send a health check and read its reply, while the
                # hub's own task reads from the connection.
                connection = hub._subscriber._connection
                assert connection is not None
                connection.next_health_check = -1.0
        finally:
            await hub.close()
            await blocking.aclose()
            await redis.aclose()
