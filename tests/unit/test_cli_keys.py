"""`millstream keys` against a real Redis."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from millstream.cli.embedded import EmbeddedRedis
from millstream.cli.main import main
from millstream.shared import keys, scripts
from millstream.shared.api_keys.directory import KeyDirectory
from millstream.shared.api_keys.token import parse_token
from millstream.shared.redis import Client, connect


@pytest.fixture
def url(redis_server: EmbeddedRedis) -> Iterator[str]:
    """An empty database of the real server."""
    url = redis_server.url.rpartition("/")[0] + "/3"
    in_redis(url, lambda redis: redis.flushdb())
    yield url
    in_redis(url, lambda redis: redis.flushdb())


def in_redis(url: str, act: Callable[[Client], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        redis = connect(url)
        try:
            return await act(redis)
        finally:
            await redis.aclose()

    return asyncio.run(connected())


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["keys", "--redis-url", url, *arguments])


def run_json(url: str, *arguments: str) -> Any:
    result = run(url, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def is_accepted(url: str, text: str) -> bool:
    token = parse_token(text)
    assert token is not None
    return in_redis(url, lambda redis: KeyDirectory(redis).find(token)) is not None


def test_a_new_key_is_printed_alone_on_stdout_and_nowhere_else(url: str) -> None:
    created = run(url, "create", "CI of ann", "--identity", "ann")
    assert created.exit_code == 0
    text = created.stdout.strip()
    assert parse_token(text)
    assert "acts as ann (read, write), and never expires" in created.stderr
    assert is_accepted(url, text)
    for listed in (run(url, "list"), run(url, "list", "--json")):
        assert text.split("_")[1] in listed.output
        assert text.split("_")[2] not in listed.output


def test_the_json_of_a_key(url: str) -> None:
    created = run_json(
        url, "create", "ci", "--identity", "ann", "--scopes", "read, ops", "--expires", "90d"
    )
    text = created.pop("key")
    assert created["id"] == text.split("_")[1]
    assert created["scopes"] == ["read", "ops"]
    assert created["created_at"] < created["expires_at"]
    assert {name: created[name] for name in ("name", "identity", "status", "last_used_at")} == {
        "name": "ci",
        "identity": "ann",
        "status": "valid",
        "last_used_at": None,
    }
    assert run_json(url, "list") == {"keys": [created]}


def test_the_list_is_one_line_a_key_without_colours_in_a_pipe(url: str) -> None:
    run(url, "create", "evil \x1b[31m", "--identity", "ann")  # refused: it could control a terminal
    run(url, "create", "ci", "--identity", "ann")
    listed = run(url, "list")
    assert "\x1b" not in listed.output
    assert len(listed.output.splitlines()) == 2
    assert "ann" in listed.output.splitlines()[1]


def test_a_rotated_key_is_valid_for_a_while(url: str) -> None:
    old = run_json(url, "create", "ci", "--identity", "ann")
    new = run_json(url, "rotate", old["id"], "--grace", "1h")
    assert (new["identity"], new["scopes"]) == ("ann", ["read", "write"])
    assert new["replaces"]["status"] == "rotated"
    assert is_accepted(url, old["key"])
    assert is_accepted(url, new["key"])
    again = run(url, "rotate", old["id"])
    assert again.exit_code == 1
    assert "create a new one" in again.stderr
    ended = run(url, "rotate", new["key"], "--grace", "0s")
    assert "has ended" in ended.output
    assert not is_accepted(url, new["key"])
    assert is_accepted(url, ended.stdout.splitlines()[0])


def test_a_revoked_key_is_refused(url: str) -> None:
    key = run_json(url, "create", "ci", "--identity", "ann")
    assert "is revoked" in run(url, "revoke", f"msk_{key['id']}").output
    assert not is_accepted(url, key["key"])
    assert "was revoked before" in run(url, "revoke", key["id"]).output
    assert run_json(url, "revoke", key["id"]) == {
        "id": key["id"],
        "status": "revoked",
        "changed": False,
    }
    assert run_json(url, "list") == {"keys": []}
    [listed] = run_json(url, "list", "--all")["keys"]
    assert listed["status"] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("create", "ci"), 2, "--identity"),
        (("create", "", "--identity", "ann"), 2, "name"),
        (("create", "ci", "--identity", " "), 2, "identity"),
        (("create", "ci", "--identity", "ann", "--scopes", "root"), 2, "'root'"),
        (("create", "ci", "--identity", "ann", "--scopes", ""), 2, "''"),
        (("create", "ci", "--identity", "ann", "--expires", "soon"), 2, "or never"),
        (("create", "ci", "--identity", "ann", "--expires", "999999999d"), 2, "is not a time"),
        (("revoke", "0" * 12), 1, "unknown"),
        (("rotate", "0" * 12), 1, "unknown"),
        (("rotate", "0" * 12, "--grace", "never"), 2, "is not a time"),
        (("revoke", "nonsense"), 2, "is not the id of a key"),
    ],
)
def test_an_invalid_command_says_why(
    url: str, arguments: tuple[str, ...], status: int, message: str
) -> None:
    result = run(url, *arguments)
    assert (result.exit_code, message in result.stderr) == (status, True), result.output
    assert in_redis(url, lambda redis: redis.keys("*")) == []


def test_without_redis_the_command_says_so() -> None:
    result = run("redis://127.0.0.1:1", "list")
    assert result.exit_code == 1
    assert "Redis can't be used" in result.stderr


def test_too_many_keys_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    create = scripts.create_key

    async def with_limit(*arguments: Any, **options: Any) -> Any:
        return await create(*arguments, **options, max_keys=1)

    monkeypatch.setattr(scripts, "create_key", with_limit)
    assert run(url, "create", "a", "--identity", "ann").exit_code == 0
    result = run(url, "create", "b", "--identity", "ann")
    assert (result.exit_code, "too many keys" in result.stderr) == (1, True)
    assert in_redis(url, lambda redis: redis.zcard(keys.api_keys())) == 1
