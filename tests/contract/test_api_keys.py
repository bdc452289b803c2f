"""API keys are created, rotated, revoked and noted as used, also under races; an API's copy follows them."""

import asyncio
import time
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from harness.waiting import until
from millstream.shared import keys, scripts
from millstream.shared.api_keys import directory, records
from millstream.shared.api_keys.directory import KeyDirectory
from millstream.shared.api_keys.records import ApiKey, CreatedKey, KeyStatus
from millstream.shared.api_keys.token import Token, new_token, parse_token
from millstream.shared.errors import ConflictError, InvalidError, NotFoundError
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client

CONTENDERS = 50
FIELDS: dict[str, str | bytes] = {
    "digest": b"d" * 32,
    "name": "n",
    "identity": "i",
    "scopes": "read",
}
DAY = 86400
RECORD_SECONDS = 30 * DAY
LAST_US = 15 * 60 * 1_000_000


def token_of(text: str) -> Token:
    token = parse_token(text)
    assert token is not None
    return token


async def a_key(redis: Client, **fields: Any) -> CreatedKey:
    return await records.create_key(
        redis, **{"name": "ci", "identity": "ann", "scopes": ["read", "write"], **fields}
    )


async def record_of(redis: Client, key_id: str) -> ApiKey:
    [record] = await records.read_keys(redis, [key_id])
    assert record is not None
    return record


async def status_of(redis: Client, key: CreatedKey) -> KeyStatus:
    now_us = int(await redis_time(redis) * 1e6)
    return (await record_of(redis, key.record.key_id)).status(now_us)


async def test_a_key_is_stored_without_its_text(any_redis: Client) -> None:
    key = await a_key(any_redis)
    stored = await any_redis.hgetall(keys.api_key(key.record.key_id))  # type: ignore[misc]
    secret = key.text.rpartition("_")[2]
    assert not any(secret.encode() in value for value in stored.values())
    assert await records.list_keys(any_redis) == [key.record]
    assert token_of(key.text).matches(key.record.digest)
    assert await any_redis.ttl(keys.api_key(key.record.key_id)) == -1


async def test_a_record_is_kept_for_a_while_after_its_key(any_redis: Client) -> None:
    expiring = await a_key(any_redis, lifetime_seconds=DAY)
    assert (
        RECORD_SECONDS + DAY - 5
        <= await any_redis.ttl(keys.api_key(expiring.record.key_id))
        <= RECORD_SECONDS + DAY
    )
    revoked = await a_key(any_redis)
    assert await records.revoke_key(any_redis, revoked.record.key_id)
    assert (
        RECORD_SECONDS - 5
        <= await any_redis.ttl(keys.api_key(revoked.record.key_id))
        <= RECORD_SECONDS
    )
    await any_redis.delete(keys.api_key(revoked.record.key_id))  # as when its TTL ends
    assert await records.list_keys(any_redis) == [expiring.record]
    assert await any_redis.zcard(keys.api_keys()) == 1


async def test_fifty_revocations_have_one_effect(any_redis: Client) -> None:
    key = await a_key(any_redis)
    results = await asyncio.gather(
        *(records.revoke_key(any_redis, key.record.key_id) for _ in range(CONTENDERS))
    )
    assert sorted(results) == [False] * (CONTENDERS - 1) + [True]
    assert await status_of(any_redis, key) == "revoked"
    with pytest.raises(NotFoundError, match="unknown"):
        await records.revoke_key(any_redis, "0" * 12)
    assert await any_redis.exists(keys.api_key("0" * 12)) == 0


async def test_fifty_rotations_have_one_successor(any_redis: Client) -> None:
    key = await a_key(any_redis, lifetime_seconds=10 * DAY)
    results = await asyncio.gather(
        *(
            records.rotate_key(any_redis, key.record.key_id, grace_seconds=60)
            for _ in range(CONTENDERS)
        ),
        return_exceptions=True,
    )
    [(successor, older)] = [each for each in results if isinstance(each, tuple)]
    assert sum(isinstance(each, ConflictError) for each in results) == CONTENDERS - 1
    new = successor.record
    assert (new.name, new.identity, new.scopes) == ("ci", "ann", ("read", "write"))
    assert new.expires_at == new.created_at + 10 * DAY * 1_000_000
    assert older.rotated_to == new.key_id
    assert older.expires_at == new.created_at + 60 * 1_000_000
    assert {record.key_id for record in await records.list_keys(any_redis)} == {
        key.record.key_id,
        new.key_id,
    }
    assert await status_of(any_redis, key) == "rotated"
    assert await status_of(any_redis, successor) == "valid"


async def test_rotations_and_revocations_at_the_same_time_leave_no_key_valid_by_mistake(
    any_redis: Client,
) -> None:
    key = await a_key(any_redis)
    steps: list[Any] = []
    for _ in range(CONTENDERS // 2):
        steps += [
            records.rotate_key(any_redis, key.record.key_id, grace_seconds=60),
            records.revoke_key(any_redis, key.record.key_id),
        ]
    results = await asyncio.gather(*steps, return_exceptions=True)
    assert await status_of(any_redis, key) == "revoked"
    rotations = sum(isinstance(each, tuple) for each in results)
    assert rotations <= 1
    assert await any_redis.zcard(keys.api_keys()) == 1 + rotations
    with pytest.raises(ConflictError, match="revoked or rotated"):
        await records.rotate_key(any_redis, key.record.key_id, grace_seconds=60)


async def test_a_rotation_never_makes_the_older_key_last_longer(any_redis: Client) -> None:
    key = await a_key(any_redis, lifetime_seconds=60)
    _, older = await records.rotate_key(
        any_redis, key.record.key_id, grace_seconds=DAY, lifetime_seconds=5 * DAY
    )
    assert older.expires_at == key.record.expires_at


async def test_a_rotation_without_grace_ends_the_older_key(any_redis: Client) -> None:
    key = await a_key(any_redis)
    successor, older = await records.rotate_key(any_redis, key.record.key_id, grace_seconds=0)
    assert older.expires_at == successor.record.created_at
    assert await status_of(any_redis, key) == "expired"
    assert successor.record.expires_at is None
    with pytest.raises(ConflictError, match="has expired"):
        await records.rotate_key(any_redis, key.record.key_id, grace_seconds=60)
    with pytest.raises(NotFoundError):
        await records.rotate_key(any_redis, "0" * 12, grace_seconds=60)


async def test_a_repeated_call_changes_nothing_more(any_redis: Client) -> None:
    """The client repeats a call whose reply was lost."""
    digest = b"d" * 32
    first = await scripts.create_key(any_redis, "a" * 12, FIELDS, lifetime_us=1_000_000_000)
    assert await scripts.create_key(any_redis, "a" * 12, FIELDS, lifetime_us=2_000_000_000) == first
    rotation = await scripts.rotate_key(any_redis, "a" * 12, "b" * 12, digest, grace_us=5_000_000)
    version = await any_redis.get(keys.api_keys_version())
    again = await scripts.rotate_key(any_redis, "a" * 12, "b" * 12, digest, grace_us=9_000_000)
    assert again == rotation
    assert await any_redis.get(keys.api_keys_version()) == version


async def test_the_number_of_keys_is_limited(any_redis: Client) -> None:
    results = await asyncio.gather(
        *(
            scripts.create_key(any_redis, f"{number:012}", FIELDS, max_keys=10)
            for number in range(CONTENDERS)
        )
    )
    assert sum(result is not None for result in results) == 10
    full = await scripts.rotate_key(
        any_redis, "0" * 12, "b" * 12, b"d" * 32, grace_us=0, max_keys=10
    )
    assert full == "full"
    assert await any_redis.zcard(keys.api_keys()) == 10


async def test_a_use_is_noted_rarely_and_creates_no_record(any_redis: Client) -> None:
    key = await a_key(any_redis)
    key_id = key.record.key_id
    version = await any_redis.get(keys.api_keys_version())
    changed = await asyncio.gather(
        *(
            scripts.note_key_use(any_redis, [key_id, "0" * 12], interval_us=LAST_US)
            for _ in range(CONTENDERS)
        )
    )
    assert sum(changed) == 1
    used = (await record_of(any_redis, key_id)).last_used_at
    assert used is not None
    assert used >= key.record.created_at
    assert await any_redis.exists(keys.api_key("0" * 12)) == 0
    assert await any_redis.get(keys.api_keys_version()) == version
    assert await scripts.note_key_use(any_redis, [key_id], interval_us=0) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"identity": " "}, "identity"),
        ({"identity": "x" * 513}, "identity"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["read", "root"]}, "'root'"),
        ({"lifetime_seconds": -1}, "expires"),
        ({"lifetime_seconds": float("inf")}, "expires"),
        ({"lifetime_seconds": float("nan")}, "expires"),
    ],
)
async def test_an_invalid_field_is_named(
    any_redis: Client, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidError, match=message):
        await a_key(any_redis, **fields)
    assert await any_redis.exists(keys.api_keys()) == 0


# ── The copy of an API ──────────────────────────────────────────────────────────────────────


class CountedQuestions:
    """Counts the questions to Redis, and fails them on request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.versions = self.lists = 0
        self.error: Exception | None = None
        read_version, list_keys = records.read_version, records.list_keys

        async def version(redis: Client) -> tuple[bytes | None, int]:
            self.versions += 1
            await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            return await read_version(redis)

        async def listed(redis: Client) -> list[ApiKey]:
            self.lists += 1
            return await list_keys(redis)

        monkeypatch.setattr(directory, "read_version", version)
        monkeypatch.setattr(directory, "list_keys", listed)


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> CountedQuestions:
    return CountedQuestions(monkeypatch)


async def test_a_thousand_requests_ask_redis_once(
    any_redis: Client, questions: CountedQuestions
) -> None:
    key = await a_key(any_redis)
    copy = KeyDirectory(any_redis, max_age=60)
    token = token_of(key.text)
    results = await asyncio.gather(*(copy.find(token) for _ in range(1000)))
    assert {result.key_id for result in results if result} == {key.record.key_id}
    assert (questions.versions, questions.lists) == (1, 1)
    noted = (await record_of(any_redis, key.record.key_id)).last_used_at
    assert noted is None  # with the next question


async def test_a_change_is_seen_after_the_age_of_the_copy(
    any_redis: Client, questions: CountedQuestions
) -> None:
    key = await a_key(any_redis)
    copy = KeyDirectory(any_redis, max_age=0)
    assert await copy.find(token_of(key.text))
    assert await copy.find(token_of(key.text))
    assert questions.lists == 1  # nothing has changed
    assert (await record_of(any_redis, key.record.key_id)).last_used_at is not None
    await records.revoke_key(any_redis, key.record.key_id)
    assert await copy.find(token_of(key.text)) is None
    assert questions.lists == 2


async def test_a_new_key_is_accepted_at_its_first_use(any_redis: Client) -> None:
    copy = KeyDirectory(any_redis, max_age=60, unknown_interval=0.05)
    assert await copy.find(token_of(new_token())) is None
    for _ in range(3):
        assert await copy.find(token_of((await a_key(any_redis)).text))


async def test_unknown_keys_share_their_questions(
    any_redis: Client, questions: CountedQuestions
) -> None:
    copy = KeyDirectory(any_redis, max_age=60, unknown_interval=0.1)
    began = time.monotonic()
    results = await asyncio.gather(*(copy.find(token_of(new_token())) for _ in range(500)))
    assert results == [None] * 500
    assert questions.versions <= 2 + (time.monotonic() - began) / 0.1


async def test_a_wrong_secret_is_refused_without_a_question(
    any_redis: Client, questions: CountedQuestions
) -> None:
    key = await a_key(any_redis)
    copy = KeyDirectory(any_redis, max_age=60)
    forged = Token(key.record.key_id, token_of(new_token()).digest)
    for _ in range(10):
        assert await copy.find(forged) is None
    assert questions.versions == 1


async def test_a_key_expires_by_the_clock_of_redis(any_redis: Client) -> None:
    copy = KeyDirectory(any_redis, max_age=60)
    key = await a_key(any_redis, lifetime_seconds=0.3)
    assert await copy.find(token_of(key.text))

    async def expired() -> bool:
        return await status_of(any_redis, key) == "expired"

    await until(expired, within=5, what="the end of the key")
    assert await copy.find(token_of(key.text)) is None


async def test_in_an_outage_nothing_is_accepted_and_requests_share_the_error(
    any_redis: Client, questions: CountedQuestions
) -> None:
    key = await a_key(any_redis)
    copy = KeyDirectory(any_redis, max_age=0)
    assert await copy.find(token_of(key.text))
    questions.error, questions.versions = RedisConnectionError("gone"), 0
    results = await asyncio.gather(
        *(copy.find(token_of(key.text)) for _ in range(100)), return_exceptions=True
    )
    assert {type(result) for result in results} == {RedisConnectionError}
    assert questions.versions <= 2
    questions.error = None
    assert await copy.find(token_of(key.text))
