"""`millstream keys`: creates, lists, rotates and revokes API keys, directly in Redis."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import click
from rich.text import Text

from millstream.cli.errors import CliError, SetupError
from millstream.cli.redis_access import in_redis
from millstream.cli.tables import new_table, plain, terminal
from millstream.shared.api_keys import records
from millstream.shared.api_keys.records import ApiKey, CreatedKey, KeyStatus
from millstream.shared.api_keys.token import key_id_of
from millstream.shared.errors import ConflictError, InvalidError, NotFoundError
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.runs.json_view import iso_time

Result = TypeVar("Result")
STYLES: Final = {
    KeyStatus.VALID: "green",
    KeyStatus.ROTATED: "yellow",
    KeyStatus.EXPIRED: "dim",
    KeyStatus.REVOKED: "dim",
}
COLUMNS: Final = ("id", "name", "identity", "scopes", "status", "created", "expires", "last used")
TIME_CHARS: Final = 16  # of an ISO time: to the minute


def create(
    url: str,
    *,
    name: str,
    identity: str,
    scopes: Sequence[str],
    lifetime_seconds: float | None,
    as_json: bool,
) -> int:
    """Creates a key and prints it; returns the exit status."""
    key, now_us = _act(
        url,
        lambda redis: records.create_key(
            redis, name=name, identity=identity, scopes=scopes, lifetime_seconds=lifetime_seconds
        ),
    )
    view = {"key": key.text, **_view(key.record, now_us)}
    if as_json:
        click.echo(json.dumps(view, indent=2, ensure_ascii=False))
    else:
        _print_new(key, view)
    return 0


def list_keys(url: str, *, show_all: bool, as_json: bool) -> int:
    """Prints the keys; returns the exit status."""
    stored, now_us = _act(url, records.list_keys)
    if not show_all:
        stored = [record for record in stored if record.is_accepted(now_us)]
    views = [_view(record, now_us) for record in stored]
    if as_json:
        click.echo(json.dumps({"keys": views}, indent=2, ensure_ascii=False))
        return 0
    table = new_table(*COLUMNS)
    for record, view in zip(stored, views, strict=True):
        table.add_row(
            plain(view["id"], style="bold"),
            plain(view["name"]),
            plain(view["identity"]),
            plain(", ".join(view["scopes"])),
            Text(view["status"], style=STYLES[record.status(now_us)]),
            *(plain(_short(view[each])) for each in ("created_at", "expires_at", "last_used_at")),
        )
    terminal().print(table)
    return 0


def rotate(
    url: str,
    key: str,
    *,
    grace_seconds: float,
    lifetime_seconds: float | None,
    as_json: bool,
) -> int:
    """Creates the successor of a key and prints it; returns the exit status."""
    key_id = _id(key)
    (successor, older), now_us = _act(
        url,
        lambda redis: records.rotate_key(
            redis, key_id, grace_seconds=grace_seconds, lifetime_seconds=lifetime_seconds
        ),
    )
    view = {"key": successor.text, **_view(successor.record, now_us)}
    if as_json:
        view["replaces"] = _view(older, now_us)
        click.echo(json.dumps(view, indent=2, ensure_ascii=False))
        return 0
    _print_new(successor, view)
    ends = iso_time(older.expires_at) if older.expires_at else ""
    if older.is_accepted(now_us):
        click.echo(
            f"The older key, {key_id}, is valid until {ends}: give clients the new one before."
        )
    else:
        click.echo(f"The older key, {key_id}, has ended.")
    return 0


def revoke(url: str, key: str, *, as_json: bool) -> int:
    """Revokes a key; returns the exit status."""
    key_id = _id(key)
    is_new, _ = _act(url, lambda redis: records.revoke_key(redis, key_id))
    if as_json:
        click.echo(json.dumps({"id": key_id, "status": "revoked", "changed": is_new}))
    elif is_new:
        click.echo(f"Key {key_id} is revoked: APIs refuse it within a few seconds.")
    else:
        click.echo(f"Key {key_id} was revoked before.")
    return 0


def _act(url: str, act: Callable[[Client], Awaitable[Result]]) -> tuple[Result, int]:
    """Returns what `act` returns, and the time of Redis' clock (µs)."""

    async def acted(redis: Client) -> tuple[Result, int]:
        result = await act(redis)
        return result, int(await redis_time(redis) * 1e6)

    try:
        return in_redis(url, acted)
    except InvalidError as error:
        raise CliError(str(error)) from None
    except (NotFoundError, ConflictError) as error:
        raise SetupError(str(error)) from None


def _id(text: str) -> str:
    key_id = key_id_of(text)
    if key_id is None:
        raise CliError(f"{text!r:.80} is not the id of a key: `millstream keys list` prints them.")
    return key_id


def _view(record: ApiKey, now_us: int) -> dict[str, Any]:
    """Returns a record as JSON."""
    return {
        "id": record.key_id,
        "name": record.name,
        "identity": record.identity,
        "scopes": list(record.scopes),
        "status": str(record.status(now_us)),
        "created_at": iso_time(record.created_at),
        "expires_at": _time(record.expires_at),
        "revoked_at": _time(record.revoked_at),
        "last_used_at": _time(record.last_used_at),
        "rotated_to": record.rotated_to,
    }


def _time(micros: int | None) -> str | None:
    return None if micros is None else iso_time(micros)


def _short(iso: str | None) -> str:
    return iso[:TIME_CHARS].replace("T", " ") if iso else ""


def _print_new(key: CreatedKey, view: dict[str, Any]) -> None:
    scopes = ", ".join(view["scopes"])
    expires = f"expires {view['expires_at']}" if view["expires_at"] else "never expires"
    click.echo(key.text)
    click.echo(
        f"Key {view['id']} acts as {view['identity']} ({scopes}), and {expires}. It is not printed again.",
        err=True,
    )
