"""The check for permissions tries commands on a real server, and leaves no key behind."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import permissions
from millstream.shared.errors import SettingError
from millstream.shared.permissions import Role
from millstream.shared.redis import Client, connect

OPEN = ["~*", "&*"]
Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def as_user(real_redis: Client, redis_server: EmbeddedRedis) -> AsyncIterator[Connect]:
    """A function that connects to an empty database as a user with these ACL rules."""
    clients: list[Client] = []

    async def user(*rules: str) -> Client:
        await real_redis.execute_command("ACL", "SETUSER", "trier", "reset", "on", ">pw", *rules)  # type: ignore[no-untyped-call]
        url = redis_server.url_for("trier", "pw").rpartition("/")[0] + "/1"
        clients.append(connect(url))
        return clients[-1]

    yield user
    for client in clients:
        await client.aclose()
    await real_redis.acl_deluser("trier")
    assert not await real_redis.keys("*")


@pytest.mark.parametrize(
    "rules",
    [
        [*OPEN, "+@all"],
        [*OPEN, "+@all", "-@dangerous"],
        ["~ms:*", "&ms:*", "+@all", "-@dangerous", "-@admin"],
        [*OPEN, "+@all", "-client", "-config", "-info", "-script", "-hello", "-acl"],
        ["-@all", *permissions.acl_rules()],
    ],
)
async def test_a_user_with_the_needed_permissions_lacks_none(
    as_user: Connect, rules: list[str]
) -> None:
    redis = await as_user(*rules)
    denied = await permissions.check_permissions(redis)
    assert (denied.message("trier"), denied.write_rejection) == ("", "")
    await permissions.require(redis)


@pytest.mark.parametrize(
    ("rules", "message", "added_rule"),
    [
        (["~*", "+@all"], "the channels ms:*", "&ms:*"),
        (["~*", "&ms:worker:*", "+@all"], "the channels ms:*", "&ms:*"),
        ([*OPEN, "+@all", "-time"], "the command TIME,", "+time"),
        ([*OPEN, "+@all", "-eval", "-evalsha"], "the commands EVALSHA, EVAL,", "+evalsha +eval"),
        ([*OPEN, "+@all", "-@scripting"], "the commands EVALSHA, EVAL,", "+evalsha +eval"),
        ([*OPEN, "+@all", "-eval"], "the command EVAL,", "+eval"),
        ([*OPEN, "+@all", "-@blocking"], "the command BLPOP,", "+blpop"),
        ([*OPEN, "+@all", "-@pubsub"], "SUBSCRIBE, UNSUBSCRIBE, PUBLISH,", "+publish"),
        ([*OPEN, "+@all", "-@stream"], "XADD, XRANGE, XREVRANGE,", "+xadd +xrange +xrevrange"),
        ([*OPEN, "+@all", "-@transaction"], "MULTI", "+multi"),
        ([*OPEN, "+@all", "-zadd", "-copy"], "the commands COPY, ZADD,", "+copy +zadd"),
        ([*OPEN, "+@all", "-@fast", "+select"], " commands (", "+@all -@dangerous"),
        ([*OPEN, "+@all", "-set"], "the command SET,", "+set"),
        ([*OPEN, "+@all", "-scan"], "the command SCAN,", "+scan"),
        ([*OPEN, "+@all", "-del", "-unlink"], "the commands UNLINK, DEL,", "+unlink +del"),
        (["~ms:queue:*", "&*", "+@all"], "the keys ms:*", "~ms:*"),
        (["~ms:{*", "~ms:t*", "&*", "+@all"], "the keys ms:*", "~ms:*"),
        (["%R~ms:*", "&*", "+@all"], "the keys ms:*", "~ms:*"),
        (["~other:*", "&other:*", "-@all", "+ping"], "the keys", "&ms:*"),
    ],
)
async def test_a_missing_permission_is_named_with_the_rule_that_adds_it(
    as_user: Connect, real_redis: Client, rules: list[str], message: str, added_rule: str
) -> None:
    redis = await as_user(*rules)
    with pytest.raises(SettingError) as refused:
        await permissions.require(redis)
    said = str(refused.value)
    if "-@all" not in rules:
        assert message in said
        assert added_rule in said
    for _ in range(5):  # with few permissions, not all commands can be tried at once
        rule = said.rpartition("ACL SETUSER trier ")[2]
        await real_redis.execute_command("ACL", "SETUSER", "trier", *rule.split())  # type: ignore[no-untyped-call]
        said = (await permissions.check_permissions(redis)).message("trier")
        if not said:
            break
    assert not said, "the rules that were named do not mend it"
    await real_redis.delete(*await real_redis.keys("*") or ["none"])


@pytest.mark.parametrize("role", Role)
async def test_the_user_of_one_role_is_not_enough_for_the_other(
    as_user: Connect, role: Role
) -> None:
    [other] = set(Role) - {role}
    redis = await as_user("-@all", *permissions.acl_rules(role))
    await permissions.require(redis, role)
    denied = await permissions.check_permissions(redis, other)
    assert set(denied.commands) == permissions.OF_ONE_ROLE[other]
    denied = await permissions.check_permissions(redis)
    assert denied.for_role(role).message("trier") == ""
    assert set(denied.for_role(other).commands) == permissions.OF_ONE_ROLE[other]
    assert set(denied.commands) == permissions.OF_ONE_ROLE[other] | permissions.OF_OPERATORS


async def test_the_check_deletes_its_keys(real_redis: Client) -> None:
    await permissions.check_permissions(real_redis)
    assert not await real_redis.keys("*")
