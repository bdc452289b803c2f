"""Finds what this process may not do in Redis, and says which ACL rule allows it.

API and workers need the same keys and channels, and mostly the same commands. A user that lacks one of them must not
start: a cancel that is not published, or a lease that is not renewed, would fail late and elsewhere. INFO and CONFIG
are optional; without them fewer settings of the server are checked (checks/server.py).

Every command is tried on a key of the process's own, which is deleted at the end.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from redis.exceptions import NoPermissionError, ReadOnlyError, ResponseError

from millstream.shared import key_lists, keys, scripts
from millstream.shared.errors import SettingError
from millstream.shared.redis import OUTAGE_ERRORS, WRITES_REJECTED, Client
from millstream.shared.redis.errors import classify

log = logging.getLogger(__name__)

CHECK_INTERVAL_SECONDS: Final = 10.0  # between checks while all is well
RETRY_SECONDS: Final = 1.0  # between checks while a permission is missing or writes are rejected
TRIAL_TTL_MS: Final = 10_000  # of the trial key, if it can't be deleted
MAX_NAMED: Final = 8  # commands that one message lists


class Role(StrEnum):
    """A kind of process, which has a Redis user of its own if an operator wants so."""

    API = "api"
    WORKER = "worker"


# Commands that one role alone needs. A test compares them with the modules and scripts that each role can reach.
OF_ONE_ROLE: Final = {
    Role.API: frozenset({"XRANGE"}),
    Role.WORKER: frozenset({"PERSIST", "PSETEX", "PTTL", "SCAN", "ZREVRANGEBYLEX"}),
}
# Commands that neither role needs, but those of the operator (`millstream runs`, …), whose user has the others too.
OF_OPERATORS: Final = frozenset({"SSCAN"})
# Command → the arguments after the key. The key holds a string, so commands for other types change nothing.
COMMANDS: Final[dict[str, str]] = {
    "COPY": "trial", "EXISTS": "", "EXPIRE": "10", "GET": "", "HDEL": "f", "HEXISTS": "f",
    "HGET": "f", "HGETALL": "", "HINCRBY": "f 1", "HKEYS": "", "HMGET": "f", "HSET": "f 1",
    "HSETNX": "f 1", "HSTRLEN": "f", "HVALS": "", "LLEN": "", "LPOP": "", "LPOS": "1", "LRANGE": "0 0",
    "LREM": "0 1", "LTRIM": "0 0", "MGET": "", "PERSIST": "", "PSETEX": "10000 1", "PTTL": "", "RPUSH": "1",
    "SADD": "1", "SCARD": "", "SISMEMBER": "1", "SMEMBERS": "", "SMISMEMBER": "1", "SREM": "1", "SSCAN": "0",
    "XADD": "* f 1", "XRANGE": "- +", "XREVRANGE": "+ -", "ZADD": "1 1", "ZCARD": "", "ZCOUNT": "0 0",
    "ZLEXCOUNT": "- +", "ZMSCORE": "1", "ZRANGE": "0 0", "ZRANGEBYLEX": "- +", "ZRANGEBYSCORE": "0 0", "ZRANK": "1",
    "ZREM": "1", "ZREMRANGEBYRANK": "0 0", "ZREMRANGEBYSCORE": "0 0", "ZREVRANGE": "0 0",
    "ZREVRANGEBYLEX": "+ -", "ZREVRANGEBYSCORE": "0 0", "ZSCORE": "1",
}  # fmt: skip
# Commands without a key.
KEYLESS_COMMANDS: Final[dict[str, str]] = {"TIME": "", "SCAN": "0"}
# Commands that a script may not contain, or not in full: they are sent on a connection.
CONNECTION_COMMANDS: Final = (
    "SELECT", "PING", "EVALSHA", "EVAL", "MULTI", "EXEC", "BLPOP", "SUBSCRIBE", "UNSUBSCRIBE",
)  # fmt: skip
EMPTY_SCRIPT: Final = "return 1"


@dataclass(slots=True)
class DeniedPermissions:
    """What the Redis user of this process may not do.

    Attributes:
        commands: names, in the order in which they were tried.
        keys: keys that the user may not read and write.
        channels: channels that the user may not subscribe to and publish on.
        write_rejection: why Redis rejects every write now; '' if it takes writes.
        is_replica: whether it rejects them because it is a replica.
    """

    commands: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    write_rejection: str = ""
    is_replica: bool = False

    def for_role(self, role: Role) -> "DeniedPermissions":
        """Returns the same without the commands that the role does not need."""
        return replace(self, commands=[name for name in self.commands if name in commands_of(role)])

    def missing(self, user: str) -> "Missing | None":
        """Returns what the user lacks; None if the user lacks nothing."""
        lacking, rules = [], []
        if self.keys:
            lacking.append(f"the keys {keys.PREFIX}:* ({self.keys[0]}, for one)")
            rules.append(f"~{keys.PREFIX}:*")
        if self.channels:
            lacking.append(f"the channels {keys.PREFIX}:* ({self.channels[0]}, for one)")
            rules.append(f"&{keys.PREFIX}:*")
        names = list(dict.fromkeys(self.commands))
        if len(names) > MAX_NAMED:
            lacking.append(f"{len(names)} commands ({', '.join(names[:MAX_NAMED])}, …)")
            rules.append("+@all -@dangerous")
        elif names:
            lacking.append(f"the command{'s' * (len(names) > 1)} {', '.join(names)}")
            rules += [f"+{name.lower()}" for name in names]
        if not lacking:
            return None
        return Missing(
            what=f"The Redis user {user!r} may not use {' and '.join(lacking)}",
            command=f"ACL SETUSER {user} {' '.join(rules)}",
        )

    def message(self, user: str) -> str:
        """Returns what the user lacks and the ACL rules that allow it; '' if the user lacks nothing."""
        missing = self.missing(user)
        if missing is None:
            return ""
        return (
            f"{missing.what}, without which no run can be executed. "
            f"This allows it: {missing.command}"
        )


@dataclass(frozen=True, slots=True)
class Missing:
    """Permissions that a Redis user lacks: a sentence without its full stop, and the command that allows them."""

    what: str
    command: str


def user_of(redis: Client) -> str:
    """Returns the name of the Redis user that the client connects as."""
    return str(redis.connection_pool.connection_kwargs.get("username") or "default")


async def check_permissions(redis: Client, role: Role | None = None) -> DeniedPermissions:
    """Tries every command that a process of the role needs; raises redis-py's errors while Redis is unavailable.

    `role` is None for a user of all processes.
    """
    denied = DeniedPermissions()
    trial = keys.trial(uuid.uuid4().hex)
    await _try_on_connection(redis, trial, denied)
    if not {"SELECT", "EVAL"} & set(denied.commands):  # without these nothing more can be tried
        await _try_keys(redis, denied)
        await _try_in_script(redis, trial, denied, commands_of(role))
    return denied


async def _try_on_connection(redis: Client, trial: str, denied: DeniedPermissions) -> None:
    """Tries the commands that no script can contain, on a connection of its own."""
    connection: Any = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    channels = key_lists.sample_channels()

    async def attempt(*command: Any) -> None:
        try:
            await connection.send_command(*command)
            await connection.read_response()
        except NoPermissionError as error:
            if command[0] == "SUBSCRIBE" and _denies(error, "channel"):
                denied.channels.append(command[1])
            elif not _denies(error, "key"):  # `_try_keys` tries the keys
                denied.commands.append(command[0])
        except ResponseError:
            pass  # the command is allowed: the script, or a transaction to end, is missing

    try:
        try:
            await connection.connect()
        except NoPermissionError:  # for the database that REDIS_URL names
            denied.commands.append("SELECT")
            return
        await attempt("PING")
        await attempt("EVALSHA", "0" * 40, 0)
        await attempt("EVAL", EMPTY_SCRIPT, 0)
        await attempt("MULTI")
        await attempt("EXEC")
        await attempt("BLPOP", trial, 0.01)
        for channel in channels:
            await attempt("SUBSCRIBE", channel)
        await attempt("UNSUBSCRIBE", channels[0])
    finally:
        await connection.disconnect(nowait=True)


async def _try_keys(redis: Client, denied: DeniedPermissions) -> None:
    """Finds the keys that the user may not read and write: Redis checks them before a script starts."""
    samples = key_lists.sample_keys()
    try:
        await redis.eval(EMPTY_SCRIPT, len(samples), *samples)  # type: ignore[misc]
    except NoPermissionError:
        for key in samples:
            try:
                await redis.eval(EMPTY_SCRIPT, 1, key)  # type: ignore[misc]
            except NoPermissionError:
                denied.keys.append(key)


async def _try_in_script(
    redis: Client, trial: str, denied: DeniedPermissions, names: frozenset[str]
) -> None:
    commands = [[name, trial, *_arguments(rest, trial)] for name, rest in COMMANDS.items()]
    commands += [[name, *rest.split()] for name, rest in KEYLESS_COMMANDS.items()]
    commands = [command for command in commands if command[0] in names]
    commands += [["PUBLISH", channel, ""] for channel in key_lists.sample_channels()]
    try:
        failures = await scripts.try_commands(redis, trial, commands, ttl_ms=TRIAL_TTL_MS)
    except NoPermissionError:  # for the trial's key, which `_try_keys` reports
        return
    except WRITES_REJECTED as error:  # the server starts no script
        _note_write_rejection(denied, error)
        return
    for name, text in failures:
        failure = classify(ResponseError(text))
        if isinstance(failure, NoPermissionError):
            if name == "PUBLISH" and _denies(failure, "channel"):
                denied.channels.append(key_lists.sample_channels()[0])
            elif not _denies(failure, "key"):
                denied.commands.append(name)
        elif isinstance(failure, WRITES_REJECTED):
            _note_write_rejection(denied, failure)


def _arguments(rest: str, trial: str) -> list[str]:
    return [trial if argument == "trial" else argument for argument in rest.split()]


def _note_write_rejection(denied: DeniedPermissions, error: ResponseError) -> None:
    denied.is_replica = isinstance(error, ReadOnlyError)
    denied.write_rejection = (
        "This Redis is a replica, which takes no writes: REDIS_URL must lead to the master "
        "(docs/operations.md)."
        if denied.is_replica
        else f"Redis takes no writes now: {error}"
    )


def _denies(error: ResponseError, kind: str) -> bool:
    """Returns whether the error denies a key or a channel (`kind`), and not the command."""
    return re.search(rf"\b{kind}s?\b", str(error)) is not None


async def require(redis: Client, role: Role | None = None) -> None:
    """Raises SettingError, with a remedy, if the user lacks a permission or the server is a replica."""
    denied = await check_permissions(redis, role)
    text = denied.message(user_of(redis)) or (denied.write_rejection if denied.is_replica else "")
    if text:
        raise SettingError(text)


class PermissionMonitor:
    """Tracks whether this process may do in Redis what it needs: checks at start, at intervals, and on request.

    Attributes:
        denied: which permissions its user lacks, as a message; '' if none.
        write_rejection: why Redis rejects writes, as a message; '' if it takes them.
    """

    def __init__(self, redis: Client, role: Role | None = None) -> None:
        """Checks nothing yet. `role` is None for a process that does the work of all."""
        self.denied = ""
        self.write_rejection = ""
        self._redis = redis
        self._role = role
        self._checked_at = -CHECK_INTERVAL_SECONDS  # monotonic time
        self._recheck = asyncio.Event()
        self._allowed = asyncio.Event()
        self._allowed.set()
        self._checking = asyncio.Lock()

    def recheck(self) -> None:
        """Asks for a check soon, because Redis rejected a command. Call it in the event loop."""
        self._recheck.set()

    async def wait_until_allowed(self) -> None:
        """Returns once the last check found no missing permission."""
        await self._allowed.wait()

    async def check(self) -> None:
        """Checks, unless it did a moment ago; raises redis-py's errors while Redis is unavailable."""
        async with self._checking:
            is_suspect = self.denied or self.write_rejection or self._recheck.is_set()
            interval = RETRY_SECONDS if is_suspect else CHECK_INTERVAL_SECONDS
            if time.monotonic() - self._checked_at < interval:
                return
            self._recheck.clear()
            denied = await check_permissions(self._redis, self._role)
            self._checked_at = time.monotonic()
            self._note(denied.message(user_of(self._redis)))
            self.write_rejection = denied.write_rejection

    async def watch(self) -> None:
        """Checks at intervals until it is cancelled; logs once when a permission goes and when it returns."""
        while True:
            try:
                await self.check()
            except OUTAGE_ERRORS as error:
                log.debug("Redis is unavailable, so no permission was checked: %s", error)
            except ResponseError as error:
                log.warning("The check of permissions failed, Redis answered: %s", error)
            is_suspect = self.denied or self.write_rejection
            try:
                async with asyncio.timeout(RETRY_SECONDS if is_suspect else CHECK_INTERVAL_SECONDS):
                    await self._recheck.wait()
                await asyncio.sleep(RETRY_SECONDS)  # however often a recheck is requested
            except TimeoutError:
                pass

    def _note(self, denied: str) -> None:
        if denied and denied != self.denied:
            log.error("%s", denied)
        elif self.denied and not denied:
            log.warning("The Redis user has all needed permissions again.")
        self.denied = denied
        if denied:
            self._allowed.clear()
        else:
            self._allowed.set()


def all_commands() -> Sequence[str]:
    """Returns the names of all commands that are tried."""
    return [
        *COMMANDS,
        *KEYLESS_COMMANDS,
        *CONNECTION_COMMANDS,
        "PUBLISH",
        "SET",
        "PEXPIRE",
        "UNLINK",
        "DEL",
    ]


def commands_of(role: Role | None) -> frozenset[str]:
    """Returns the commands that a process of the role uses; for None, those of all processes and of operators."""
    names = frozenset(all_commands())
    if role is None:
        return names
    others = [of_other for other, of_other in OF_ONE_ROLE.items() if other is not role]
    return names.difference(OF_OPERATORS, *others)


def acl_rules(role: Role | None = None) -> list[str]:
    """Returns the ACL rules of a user with exactly the permissions that a process of the role needs.

    `role` is None for a user of all processes and of operators.
    """
    names = commands_of(role)
    commands = [f"+{name.lower()}" for name in all_commands() if name in names]
    return [f"~{keys.PREFIX}:*", f"&{keys.PREFIX}:*", *commands]
