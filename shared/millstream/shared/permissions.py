"""What a process may not do in Redis: found by trying, said in a sentence with the ACL rule that mends it.

API and workers need the same: their keys and channels, and the commands below. A user that lacks one of
them can't be half of use: a cancel that is not published, or a lease that is not renewed, shows late
and elsewhere. INFO and CONFIG are not needed; without them less is checked (redis/findings.py).

All is tried on a key of the process's own, which is gone after it.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.exceptions import NoPermissionError, ReadOnlyError, ResponseError

from millstream.shared import keys, scripts
from millstream.shared.errors import SettingError
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED, Client
from millstream.shared.redis.errors import named

log = logging.getLogger(__name__)

LACKING: Final = NoPermissionError  # what a command raises that the user may not use
EVERY: Final = 10.0  # s between looks while all is well
PAUSE: Final = 1.0  # s between looks while something is not
LIFE: Final = 10_000  # ms that a trial lives if it can't be deleted
MAX_NAMED: Final = 8  # commands in a sentence; of more, some

# Commands and what stands after the key. The key holds a string, so those of other types change nothing.
COMMANDS: Final[dict[str, str]] = {
    "COPY": "trial", "EXISTS": "", "EXPIRE": "10", "GET": "", "HDEL": "f", "HEXISTS": "f",
    "HGET": "f", "HGETALL": "", "HINCRBY": "f 1", "HKEYS": "", "HMGET": "f", "HSET": "f 1",
    "HSETNX": "f 1", "HSTRLEN": "f", "HVALS": "", "LPOP": "", "LPOS": "1", "LPUSH": "1", "LRANGE": "0 0",
    "LREM": "0 1", "LTRIM": "0 0", "PERSIST": "", "PSETEX": "10000 1", "PTTL": "", "RPUSH": "1",
    "SADD": "1", "SCARD": "", "SISMEMBER": "1", "SMEMBERS": "", "SMISMEMBER": "1", "SREM": "1",
    "XADD": "* f 1", "XRANGE": "- +", "XREVRANGE": "+ -", "ZADD": "1 1", "ZCARD": "",
    "ZMSCORE": "1", "ZRANGE": "0 0", "ZRANGEBYLEX": "- +", "ZRANGEBYSCORE": "0 0", "ZREM": "1",
    "ZREMRANGEBYRANK": "0 0", "ZREMRANGEBYSCORE": "0 0", "ZREVRANGE": "0 0",
    "ZREVRANGEBYLEX": "+ -", "ZSCORE": "1",
}  # fmt: skip
# Those that name no key of ours, or none.
KEYLESS: Final[dict[str, str]] = {"TIME": "", "SCAN": "0"}
# Scripts may not contain them, or not all of what they do.
ALONE: Final = (
    "SELECT", "PING", "EVALSHA", "EVAL", "MULTI", "EXEC", "BLPOP", "SUBSCRIBE", "UNSUBSCRIBE",
)  # fmt: skip
WRITES_NOTHING: Final = "return 1"


@dataclass(slots=True)
class Lack:
    """What a user may not do.

    Attributes:
        commands: names, in the order in which they were tried.
        keys: keys that it may not read and write.
        channels: channels that it may not subscribe to and publish on.
        refusal: why Redis takes no writes at all now, '' if it does.
    """

    commands: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    refusal: str = ""
    is_replica: bool = False

    def sentence(self, user: str) -> str:
        """Returns what is missing and the rule that mends it; '' if nothing is."""
        things, rules = [], []
        if self.keys:
            things.append(f"the keys {keys.PREFIX}:* ({self.keys[0]}, for one)")
            rules.append(f"~{keys.PREFIX}:*")
        if self.channels:
            things.append(f"the channels {keys.PREFIX}:* ({self.channels[0]}, for one)")
            rules.append(f"&{keys.PREFIX}:*")
        names = list(dict.fromkeys(self.commands))
        if len(names) > MAX_NAMED:
            things.append(f"{len(names)} commands ({', '.join(names[:MAX_NAMED])}, …)")
            rules.append("+@all -@dangerous")
        elif names:
            things.append(f"the command{'s' * (len(names) > 1)} {', '.join(names)}")
            rules += [f"+{name.lower()}" for name in names]
        if not things:
            return ""
        return (
            f"The Redis user {user!r} may not use {' and '.join(things)}, without which no run can "
            f"be executed. This allows it: ACL SETUSER {user} {' '.join(rules)}"
        )


def user_of(redis: Client) -> str:
    """Returns the name of the user as whom the client connects."""
    return str(redis.connection_pool.connection_kwargs.get("username") or "default")


async def check_permissions(redis: Client) -> Lack:
    """Tries all that is needed; raises redis-py's errors while Redis is away."""
    lack = Lack()
    trial = keys.trial(uuid.uuid4().hex)
    await _alone(redis, trial, lack)
    if not {"SELECT", "EVAL"} & set(lack.commands):  # without them nothing more can be tried
        await _keys(redis, lack)
        await _in_script(redis, trial, lack)
    return lack


async def _alone(redis: Client, trial: str, lack: Lack) -> None:
    """Tries what no script can, on a connection that nobody else uses."""
    connection: Any = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    channels = keys.sample_channels()

    async def ask(*words: Any) -> None:
        try:
            await connection.send_command(*words)
            await connection.read_response()
        except NoPermissionError as error:
            if words[0] == "SUBSCRIBE" and _names(error, "channel"):
                lack.channels.append(words[1])
            elif not _names(error, "key"):  # those are tried by themselves
                lack.commands.append(words[0])
        except ResponseError:
            pass  # it was allowed; there is no such script, or no transaction to end

    try:
        try:
            await connection.connect()
        except NoPermissionError:  # of the database that REDIS_URL names
            lack.commands.append("SELECT")
            return
        await ask("PING")
        await ask("EVALSHA", "0" * 40, 0)
        await ask("EVAL", WRITES_NOTHING, 0)
        await ask("MULTI")
        await ask("EXEC")
        await ask("BLPOP", trial, 0.01)
        for channel in channels:
            await ask("SUBSCRIBE", channel)
        await ask("UNSUBSCRIBE", channels[0])
    finally:
        await connection.disconnect(nowait=True)


async def _keys(redis: Client, lack: Lack) -> None:
    """Finds the keys that may not be read and written: naming them to a script is enough."""
    samples = keys.sample_keys()
    try:
        await redis.eval(WRITES_NOTHING, len(samples), *samples)  # type: ignore[misc]
    except NoPermissionError:
        for key in samples:
            try:
                await redis.eval(WRITES_NOTHING, 1, key)  # type: ignore[misc]
            except NoPermissionError:
                lack.keys.append(key)


async def _in_script(redis: Client, trial: str, lack: Lack) -> None:
    words = [[name, trial, *_words(rest, trial)] for name, rest in COMMANDS.items()]
    words += [[name, *rest.split()] for name, rest in KEYLESS.items()]
    words += [["PUBLISH", channel, ""] for channel in keys.sample_channels()]
    try:
        told = await scripts.try_commands(redis, trial, words, ttl_ms=LIFE)
    except NoPermissionError:  # of the trial's key: `_keys` has told
        return
    except WRITES_REJECTED as error:  # a server that lets no script begin
        _note_refusal(lack, error)
        return
    for name, text in told:
        refused = named(ResponseError(text))
        if isinstance(refused, NoPermissionError):
            if name == "PUBLISH" and _names(refused, "channel"):
                lack.channels.append(keys.sample_channels()[0])
            elif not _names(refused, "key"):
                lack.commands.append(name)
        elif isinstance(refused, WRITES_REJECTED):
            _note_refusal(lack, refused)


def _words(rest: str, trial: str) -> list[str]:
    return [trial if word == "trial" else word for word in rest.split()]


def _note_refusal(lack: Lack, error: ResponseError) -> None:
    lack.is_replica = isinstance(error, ReadOnlyError)
    lack.refusal = (
        "This Redis is a replica, which takes no writes: REDIS_URL must lead to the master "
        "(docs/operations.md)."
        if lack.is_replica
        else f"Redis takes no writes now: {error}"
    )


def _names(error: ResponseError, what: str) -> bool:
    """Returns whether a key or a channel is what is refused, and not the command."""
    return re.search(rf"\b{what}s?\b", str(error)) is not None


async def require(redis: Client) -> None:
    """Raises SettingError, with what to do, if the user may not do what a process needs, or if the
    server is a replica."""
    lack = await check_permissions(redis)
    text = lack.sentence(user_of(redis)) or (lack.refusal if lack.is_replica else "")
    if text:
        raise SettingError(text)


class Access:
    """Whether this process may do in Redis what it needs: tried at start, at intervals, and in doubt.

    Attributes:
        lacking: what its user may not do, in a sentence; '' if there is nothing.
        refusal: why Redis takes no writes, in a sentence; '' if it does.
    """

    def __init__(self, redis: Client) -> None:
        """Tries nothing yet."""
        self.lacking = ""
        self.refusal = ""
        self._redis = redis
        self._looked = -EVERY  # monotonic time
        self._doubt = asyncio.Event()
        self._allowed = asyncio.Event()
        self._allowed.set()
        self._turn = asyncio.Lock()

    def doubt(self) -> None:
        """Says that something was refused: it is looked at soon. Called in the event loop."""
        self._doubt.set()

    async def allowed(self) -> None:
        """Returns once nothing is lacking, as far as known."""
        await self._allowed.wait()

    async def check(self) -> None:
        """Looks, unless that was done a moment ago; raises redis-py's errors while Redis is away."""
        async with self._turn:
            troubled = self.lacking or self.refusal or self._doubt.is_set()
            if time.monotonic() - self._looked < (PAUSE if troubled else EVERY):
                return
            self._doubt.clear()
            lack = await check_permissions(self._redis)
            self._looked = time.monotonic()
            self._note(lack.sentence(user_of(self._redis)))
            self.refusal = lack.refusal

    async def watch(self) -> None:
        """Looks again and again until it is cancelled; says once what is lacking, and when it is not."""
        while True:
            try:
                await self.check()
            except (*UNAVAILABLE, *WRITES_REJECTED) as error:
                log.debug("Redis is away, so nothing was tried: %s", error)
            except ResponseError as error:
                log.warning("Redis did not understand what was tried: %s", error)
            pause = PAUSE if self.lacking or self.refusal else EVERY
            try:
                async with asyncio.timeout(pause):
                    await self._doubt.wait()
                await asyncio.sleep(PAUSE)  # a doubt is not looked into more often than that
            except TimeoutError:
                pass

    def _note(self, lacking: str) -> None:
        if lacking and lacking != self.lacking:
            log.error("%s", lacking)
        elif self.lacking and not lacking:
            log.warning("The Redis user may do what is needed again.")
        self.lacking = lacking
        if lacking:
            self._allowed.clear()
        else:
            self._allowed.set()


def all_commands() -> Sequence[str]:
    """Returns the names of all commands that are tried."""
    return [*COMMANDS, *KEYLESS, *ALONE, "PUBLISH", "SET", "PEXPIRE", "UNLINK", "DEL"]


def acl_rules(commands: Iterable[str] | None = None) -> list[str]:
    """Returns the ACL rules of a user that may do what is needed, and nothing else."""
    names = all_commands() if commands is None else commands
    return [f"~{keys.PREFIX}:*", f"&{keys.PREFIX}:*", *(f"+{name.lower()}" for name in names)]
