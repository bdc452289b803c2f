"""What is wrong with a Redis, as far as it tells: asked once, when a process starts."""

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
class Finding:
    """Something that is wrong; `fatal` if nothing can work with it. `text` is a sentence or two."""

    text: str
    fatal: bool = False


def findings(info: Mapping[str, Any], save: str | None) -> list[Finding]:
    """Returns what is wrong with a server; what it does not tell is taken for right.

    Args:
        info: its INFO, as redis-py parses it.
        save: its setting `save`; None if it may not be read.
    """
    found = []
    version = _version(info)
    if version is not None and version < MIN_VERSION:
        found.append(
            Finding(
                f"Redis {info['redis_version']} is too old: it must be 6.2 or newer, or Valkey.",
                fatal=True,
            )
        )
    if _number(info, "cluster_enabled") == 1:
        found.append(
            Finding(
                "This Redis is a Cluster, which is not supported yet: use a single Redis, "
                "or one with replicas and Sentinel.",
                fatal=True,
            )
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            Finding(
                f"Redis may evict keys (maxmemory-policy is {policy}): when its memory is full, "
                "runs, events and checkpoints vanish without a word. "
                "This mends it: redis-cli CONFIG SET maxmemory-policy noeviction, "
                "and the same in redis.conf."
            )
        )
    if _number(info, "aof_enabled") == 0 and save == "":
        found.append(
            Finding(
                "Redis keeps nothing on disk (neither appendonly nor save is set): "
                "when it restarts, all threads, checkpoints and queued runs are lost. "
                "This mends it: redis-cli CONFIG SET appendonly yes, "
                "and the same in redis.conf."
            )
        )
    return found


async def examine(redis: Client) -> list[Finding]:
    """Asks the server and returns what is wrong; raises redis-py's errors while it is away.

    Of a server that refuses INFO that is the one finding; one that refuses CONFIG has fewer.
    """
    try:
        info = await redis.info()
    except NoPermissionError:
        user = redis.connection_pool.connection_kwargs.get("username") or "default"
        return [
            Finding(
                f"The Redis user {user!r} may not use the command INFO, so whether the server is "
                "new enough, keeps its data and evicts none was not checked. "
                f"This allows it: ACL SETUSER {user} +info"
            )
        ]
    except ResponseError as error:
        log.info("Redis does not tell about itself, so it was not checked: %s", error)
        return []
    try:
        save = (await redis.config_get("save")).get("save")
    except ResponseError:
        save = None
    return findings(info, None if save is None else _text(save))


async def require(redis: Client) -> None:
    """Logs what is wrong with the server; raises SettingError if nothing can work with it."""
    for finding in await examine(redis):
        if finding.fatal:
            raise SettingError(finding.text)
        log.warning("%s", finding.text)


async def report(redis: Client) -> None:
    """Logs what is wrong with the server, as soon as it can be reached."""
    for finding in await retry_while_unavailable(
        "The check of the server", lambda: examine(redis), rejected=False
    ):
        log.log(logging.ERROR if finding.fatal else logging.WARNING, "%s", finding.text)


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
