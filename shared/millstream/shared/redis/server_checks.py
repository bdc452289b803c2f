"""Checks the version and the settings of the Redis server once, when a process starts."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from millstream.shared.errors import SettingError
from millstream.shared.redis.clients import Client
from millstream.shared.redis.retry import retry_while_unavailable

log = logging.getLogger(__name__)

MIN_VERSION: Final = (6, 2)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the server; `fatal` if Millstream can't work with it. `text` is a message."""

    text: str
    fatal: bool = False


def find_problems(info: Mapping[str, Any], save: str | None) -> list[Problem]:
    """Returns the problems of a server; a missing value counts as correct.

    Args:
        info: the reply to INFO, as redis-py parses it.
        save: the setting `save`; None if it can't be read.
    """
    problems = []
    version = _version(info)
    if version is not None and version < MIN_VERSION:
        problems.append(
            Problem(
                f"Redis {info['redis_version']} is too old: it must be 6.2 or newer, or Valkey.",
                fatal=True,
            )
        )
    if _number(info, "cluster_enabled") == 1:
        problems.append(
            Problem(
                "This Redis is a Cluster, which is not supported yet: use a single Redis, "
                "or one with replicas and Sentinel.",
                fatal=True,
            )
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        problems.append(
            Problem(
                f"Redis may evict keys (maxmemory-policy is {policy}): when its memory is full, "
                "runs, events and checkpoints vanish without an error. "
                "To correct this: redis-cli CONFIG SET maxmemory-policy noeviction, "
                "and the same in redis.conf."
            )
        )
    if _number(info, "aof_enabled") == 0 and save == "":
        problems.append(
            Problem(
                "Redis keeps nothing on disk (neither appendonly nor save is set): "
                "when it restarts, all threads, checkpoints and queued runs are lost. "
                "To correct this: redis-cli CONFIG SET appendonly yes, "
                "and the same in redis.conf."
            )
        )
    return problems


async def examine(redis: Client) -> list[Problem]:
    """Reads the server's settings and returns its problems; raises redis-py's errors while it is unavailable.

    A server that denies INFO has that as its only problem; one that denies CONFIG is checked less.
    """
    try:
        info = await redis.info()
    except NoPermissionError:
        user = redis.connection_pool.connection_kwargs.get("username") or "default"
        return [
            Problem(
                f"The Redis user {user!r} may not use the command INFO, so whether the server is "
                "new enough, stores its data on disk and evicts no keys was not checked. "
                f"This allows it: ACL SETUSER {user} +info"
            )
        ]
    except ResponseError as error:
        log.info("Redis does not support INFO, so its settings were not checked: %s", error)
        return []
    try:
        save = (await redis.config_get("save")).get("save")
    except ResponseError:
        save = None
    return find_problems(info, None if save is None else _text(save))


async def require(redis: Client) -> None:
    """Logs the server's problems; raises SettingError for a fatal one."""
    for problem in await examine(redis):
        if problem.fatal:
            raise SettingError(problem.text)
        log.warning("%s", problem.text)


async def report(redis: Client) -> None:
    """Logs the server's problems, as soon as it is reachable."""
    for problem in await retry_while_unavailable(
        "The check of the server", lambda: examine(redis), rejected=False
    ):
        log.log(logging.ERROR if problem.fatal else logging.WARNING, "%s", problem.text)


def _version(info: Mapping[str, Any]) -> tuple[int, int] | None:
    parts = str(info.get("redis_version", "")).split(".")[:2]
    if len(parts) < 2 or not all(part.isdecimal() for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def _number(info: Mapping[str, Any], name: str) -> int | None:
    value = info.get(name)
    return value if isinstance(value, int) else None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
