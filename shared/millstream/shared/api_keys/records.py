"""The records of API keys in Redis. They hold no key: a lost key can't be read again, only replaced."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from millstream.shared import keys, scripts
from millstream.shared.access.user import MAX_IDENTITY_CHARS
from millstream.shared.api_keys.token import Token, new_token, parse_token
from millstream.shared.errors import ConflictError, InvalidError, NotFoundError
from millstream.shared.redis import WRITES_REJECTED, Client
from millstream.shared.rules.scopes import SCOPES

MAX_NAME_CHARS: Final = 200
MAX_LIFETIME_SECONDS: Final = 100 * 365 * 86400
BATCH: Final = 500  # records of one round trip: larger replies would hold up the event loop
FIELDS: Final = (
    "digest", "name", "identity", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at", "rotated_to",
)  # fmt: skip


class KeyStatus(StrEnum):
    """Whether a key is accepted."""

    VALID = "valid"
    ROTATED = "rotated"
    """Valid until it expires; its successor replaces it."""
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """The record of a key. Times are µs of Redis' clock."""

    key_id: str
    digest: bytes
    name: str
    identity: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    """At most a quarter of an hour too old."""
    rotated_to: str | None = None
    """The id of its successor."""

    def status(self, now_us: int) -> KeyStatus:
        """Returns whether the key is accepted at a time."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        if self.expires_at is not None and self.expires_at <= now_us:
            return KeyStatus.EXPIRED
        return KeyStatus.VALID if self.rotated_to is None else KeyStatus.ROTATED

    def is_accepted(self, now_us: int) -> bool:
        """Returns whether the key may be used at a time."""
        return self.status(now_us) in (KeyStatus.VALID, KeyStatus.ROTATED)


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key: its text, which is stored nowhere, and its record."""

    text: str
    record: ApiKey


async def create_key(
    redis: Client,
    *,
    name: str,
    identity: str,
    scopes: Iterable[str],
    lifetime_seconds: float | None = None,
) -> CreatedKey:
    """Creates a key; `lifetime_seconds` is None for one that never expires.

    Raises:
        InvalidError: an invalid field.
        ConflictError: there are too many keys.
    """
    _check_text("name", name, MAX_NAME_CHARS)
    _check_text("identity", identity, MAX_IDENTITY_CHARS)
    chosen = _check_scopes(scopes)
    text, token = _new_token()
    times = await scripts.create_key(
        redis,
        token.key_id,
        {"digest": token.digest, "name": name, "identity": identity, "scopes": " ".join(chosen)},
        lifetime_us=_microseconds("expires", lifetime_seconds),
    )
    if times is None:
        raise _too_many()
    record = ApiKey(
        key_id=token.key_id,
        digest=token.digest,
        name=name,
        identity=identity,
        scopes=chosen,
        created_at=times.created_at,
        expires_at=times.expires_at,
    )
    return CreatedKey(text, record)


async def rotate_key(
    redis: Client,
    key_id: str,
    *,
    grace_seconds: float,
    lifetime_seconds: float | None = None,
) -> tuple[CreatedKey, ApiKey]:
    """Creates the successor of a key; returns it, and the older key, which is valid for `grace_seconds` more.

    Args:
        lifetime_seconds: until the new key expires; None: as long as the older one was made for.

    Raises:
        NotFoundError: no key has that id.
        ConflictError: the key was revoked, rotated or has expired, or there are too many keys.
    """
    text, token = _new_token()
    rotation = await scripts.rotate_key(
        redis,
        key_id,
        token.key_id,
        token.digest,
        grace_us=_microseconds("grace", grace_seconds) or 0,
        lifetime_us=_microseconds("expires", lifetime_seconds),
    )
    if rotation == "unknown":
        raise _unknown(key_id)
    if rotation == "full":
        raise _too_many()
    if rotation == "ended":
        raise ConflictError(
            f"Key {key_id} was revoked or rotated, or has expired: create a new one instead."
        )
    older, successor = await read_keys(redis, [key_id, token.key_id])
    if older is None or successor is None:  # Redis lost it a moment ago
        raise _unknown(key_id)
    return CreatedKey(text, successor), older


async def revoke_key(redis: Client, key_id: str) -> bool:
    """Revokes a key; returns whether it was not revoked before. Raises NotFoundError for an unknown id."""
    status = await scripts.revoke_key(redis, key_id)
    if status == "unknown":
        raise _unknown(key_id)
    return status == "revoked"


async def read_keys(redis: Client, key_ids: Sequence[str]) -> list[ApiKey | None]:
    """Returns the records of keys in their order; None for one without a record."""
    records: list[ApiKey | None] = []
    for start in range(0, len(key_ids), BATCH):
        pipe = redis.pipeline(transaction=False)
        batch = key_ids[start : start + BATCH]
        for key_id in batch:
            pipe.hmget(keys.api_key(key_id), [*FIELDS])
        records += map(_parse, batch, await pipe.execute())
    return records


async def list_keys(redis: Client, *, forgets: bool = True) -> list[ApiKey]:
    """Returns the records of all keys, in the order of their creation.

    `forgets` removes the ids whose records have expired from the list.
    """
    key_ids = [member.decode() for member in await redis.zrange(keys.api_keys(), 0, -1)]
    records = await read_keys(redis, key_ids)
    gone = [key_id for key_id, record in zip(key_ids, records, strict=True) if record is None]
    if gone and forgets:  # no later key gets such an id
        with contextlib.suppress(*WRITES_REJECTED):
            await redis.zrem(keys.api_keys(), *gone)
    return [record for record in records if record is not None]


async def read_version(redis: Client) -> tuple[bytes | None, int]:
    """Returns the version of all keys, which changes when a key does, and the time of Redis' clock (µs)."""
    pipe = redis.pipeline(transaction=False)
    pipe.get(keys.api_keys_version())
    pipe.time()
    version, (seconds, micros) = await pipe.execute()
    return version, seconds * 1_000_000 + micros


def _parse(key_id: str, values: Sequence[Any]) -> ApiKey | None:
    fields = dict(zip(FIELDS, values, strict=True))
    if not fields["digest"] or not fields["created_at"]:
        return None
    texts = {
        name: (fields[name] or b"").decode(errors="replace")
        for name in ("name", "identity", "scopes", "rotated_to")
    }
    times = {
        name: int(fields[name]) if fields[name] else None
        for name in ("expires_at", "revoked_at", "last_used_at")
    }
    return ApiKey(
        key_id=key_id,
        digest=fields["digest"],
        name=texts["name"],
        identity=texts["identity"],
        scopes=tuple(texts["scopes"].split()),
        created_at=int(fields["created_at"]),
        rotated_to=texts["rotated_to"] or None,
        **times,
    )


def _new_token() -> tuple[str, Token]:
    text = new_token()
    token = parse_token(text)
    assert token is not None
    return text, token


def _check_text(field: str, text: str, limit: int) -> None:
    if not text.strip() or len(text) > limit or not text.isprintable():
        raise InvalidError(f"{field}: must be a text of 1 to {limit} printable characters.")


def _check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(scopes))
    unknown = [scope for scope in chosen if scope not in SCOPES]
    if unknown or not chosen:
        raise InvalidError(
            f"scopes: must be one or more of {', '.join(SCOPES)}"
            + (f", not {unknown[0]!r}." if unknown else ".")
        )
    return chosen


def _microseconds(field: str, seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not 0 <= seconds <= MAX_LIFETIME_SECONDS:
        raise InvalidError(f"{field}: must be between 0 and {MAX_LIFETIME_SECONDS} s.")
    return int(seconds * 1_000_000)


def _unknown(key_id: str) -> NotFoundError:
    return NotFoundError(f"Key {key_id} is unknown, or ended more than 30 days ago.")


def _too_many() -> ConflictError:
    return ConflictError(
        "There are too many keys: revoke those that nobody uses. Their records are kept for 30 days."
    )
