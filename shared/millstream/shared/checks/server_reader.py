"""Reads the facts about the server. A command that the user may not use is a fact that was not read."""

import re
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    NoPermissionError,
    ResponseError,
)

from millstream.shared import keys
from millstream.shared.checks.facts import Fact, Latency, ServerInfo
from millstream.shared.permissions import EMPTY_SCRIPT, user_of
from millstream.shared.redis import Client

Value = TypeVar("Value")
SETTINGS: Final = (
    "save",
    "timeout",
    "maxclients",
    "client-output-buffer-limit",
    "min-replicas-to-write",
)
ROUND_TRIPS: Final = 100
ROUND_TRIPS_SECONDS: Final = 1.0  # for all of them
# What a node of a cluster answers for keys that it does not have: redis-py has classes for some of these codes.
OF_CLUSTERS: Final = re.compile(r"(MOVED|ASK|CROSSSLOT|CLUSTERDOWN|TRYAGAIN)\b")
CLUSTER_ERRORS: Final = (AskError, ClusterCrossSlotError)  # MovedError is an AskError


async def read(redis: Client, what: str, reply: Awaitable[Value], *, rule: str = "") -> Fact[Value]:
    """Returns what the command returns, or why Redis rejects it; raises redis-py's errors while it is unavailable.

    Args:
        what: names the command in the reason.
        rule: the ACL rule that allows the command.
    """
    try:
        return Fact(await reply)
    except NoPermissionError as error:
        user = user_of(redis)
        remedy = f" (ACL SETUSER {user} {rule} allows it)" if rule else f": {error}"
        return Fact(reason=f"the Redis user {user!r} may not use {what}{remedy}", is_denied=True)
    except ResponseError as error:
        return Fact(reason=f"Redis rejects {what}: {error}")


async def read_info(redis: Client) -> Fact[ServerInfo]:
    """Reads the server's state."""

    async def info() -> ServerInfo:
        return ServerInfo(await redis.info())

    return await read(redis, "INFO", info(), rule="+info")


async def read_config(redis: Client, names: tuple[str, ...] = SETTINGS) -> Fact[Mapping[str, str]]:
    """Reads the server's settings of these names."""

    async def config() -> Mapping[str, str]:
        pipe = redis.pipeline(transaction=False)
        for name in names:
            pipe.config_get(name)
        replies: list[Mapping[str, Any]] = await pipe.execute()
        return {name: _text(value) for reply in replies for name, value in reply.items()}

    return await read(redis, "CONFIG GET", config(), rule="+config|get")


async def read_slots(redis: Client) -> Fact[str]:
    """Finds out whether a script may use keys of different hash slots; the value is the error, '' for none."""

    async def slots() -> str:
        try:
            await redis.eval(EMPTY_SCRIPT, 2, keys.thread("a"), keys.live())  # type: ignore[misc]
        except ResponseError as error:
            if not isinstance(error, CLUSTER_ERRORS) and not OF_CLUSTERS.match(str(error)):
                raise
            return str(error)
        return ""

    return await read(redis, "EVAL", slots(), rule="+eval")


async def read_latency(redis: Client) -> Fact[Latency]:
    """Measures round trips, and compares the clocks by the fastest of them."""

    async def latency() -> Latency:
        trips: list[float] = []
        fastest, ahead = float("inf"), 0.0
        end = time.monotonic() + ROUND_TRIPS_SECONDS
        while len(trips) < ROUND_TRIPS and (not trips or time.monotonic() < end):
            sent = time.time()
            seconds, micros = await redis.time()
            received = time.time()
            trips.append(received - sent)
            if received - sent < fastest:
                fastest = received - sent
                ahead = seconds + micros / 1e6 - (sent + received) / 2
        return Latency(tuple(trips), ahead)

    return await read(redis, "TIME", latency(), rule="+time")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
