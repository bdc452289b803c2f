"""Reads all facts about Redis, each within a time limit."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from millstream.shared.checks import deployment_reader, server_reader
from millstream.shared.checks.connection_reader import (
    find_failure,
    read_certificate,
    target_of,
)
from millstream.shared.checks.facts import ConnectionFailure, Fact, OtherKeys, Stuck, Target
from millstream.shared.errors import SettingError
from millstream.shared.figures import read_figures
from millstream.shared.permissions import check_permissions
from millstream.shared.redis import Client, connect, masked

Value = TypeVar("Value")
READ_SECONDS: Final = 5.0  # of one read
ALL_READS_SECONDS: Final = 20.0
CONNECTIONS: Final = 3


async def read_redis(url: str) -> dict[str, Fact[Any]]:
    """Returns the facts about Redis by their names in `Facts`.

    It ends within `ALL_READS_SECONDS` after the connection. If Redis can't be used, `failure` says why, and further
    facts are missing.
    """
    try:
        redis = connect(url, connections=CONNECTIONS, reply_timeout=READ_SECONDS, repeats=0)
    except SettingError as error:
        invalid: dict[str, Fact[Any]] = {
            "target": Fact(Target(url=masked(url))),
            "failure": Fact(ConnectionFailure("url", str(error))),
        }
        return invalid | _unreachable()
    try:
        target = target_of(redis, url)
        failure = await find_failure(redis, redis.connection_pool.connection_kwargs.get("password"))
        facts: dict[str, Fact[Any]] = {"target": Fact(target), "failure": Fact(failure)}
        if failure is not False:
            return facts | _unreachable()
        return facts | await _Reader(redis, target).read_all()
    finally:
        await redis.aclose()


def _unreachable() -> dict[str, Fact[Any]]:
    names = (
        "latency", "certificate", "info", "config", "slots", "permissions", "figures", "graphs", "lapsed", "stuck",
        "other_keys", "api_keys",
    )  # fmt: skip
    return {name: Fact(reason="Redis can't be used") for name in names}


class _Reader:
    """Reads one fact after the other."""

    def __init__(self, redis: Client, target: Target) -> None:
        self._redis = redis
        self._target = target
        self._end = time.monotonic() + ALL_READS_SECONDS

    async def read_all(self) -> dict[str, Fact[Any]]:
        redis = self._redis
        facts: dict[str, Fact[Any]] = {
            "latency": await self._guard(server_reader.read_latency(redis)),
            "info": await self._guard(server_reader.read_info(redis)),
            "config": await self._guard(server_reader.read_config(redis)),
            "slots": await self._guard(server_reader.read_slots(redis)),
            "permissions": await self._read("a trial of the commands", check_permissions(redis)),
            "figures": await self._read("the queues", read_figures(redis)),
            "graphs": await self._read("the graphs", deployment_reader.read_graphs(redis)),
            "lapsed": await self._read("the queues", deployment_reader.read_lapsed(redis)),
            "api_keys": await self._read("the API keys", deployment_reader.read_key_ring(redis)),
        }
        scanned = await self._read("SCAN", deployment_reader.scan(redis))
        other_keys: Fact[OtherKeys] = Fact(reason=scanned.reason)
        stuck: Fact[Stuck] = Fact(reason=scanned.reason)
        if not scanned.reason:
            found_keys, thread_ids = scanned()
            other_keys = Fact(found_keys)
            stuck = await self._read(
                "the runs and threads", deployment_reader.read_stuck(redis, thread_ids)
            )
        certificate: Fact[Any] = Fact()
        if self._target.is_tls:
            certificate = await self._guard(read_certificate(redis, self._target))
        return facts | {"other_keys": other_keys, "stuck": stuck, "certificate": certificate}

    async def _read(self, what: str, reply: Awaitable[Value]) -> Fact[Value]:
        return await self._guard(server_reader.read(self._redis, what, reply))

    async def _guard(self, fact: Awaitable[Fact[Value]]) -> Fact[Value]:
        """Returns the fact, or why it was not read in time."""
        seconds = max(0.01, min(READ_SECONDS, self._end - time.monotonic()))
        try:
            async with asyncio.timeout(seconds):
                return await fact
        except TimeoutError:
            return Fact(reason=f"Redis did not answer within {seconds:.0f} s")
        except (RedisError, OSError) as error:
            return Fact(reason=f"Redis became unavailable: {error}")
