"""`millstream keys`: its subcommands and options."""

import os
import sys
from collections.abc import Sequence

import click

from millstream.cli import options
from millstream.cli.processes import operator_redis_url
from millstream.shared.rules.scopes import SCOPES


def _read_scopes(_: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[str]:
    names = [part.strip() for value in values for part in value.split(",")]
    unknown = [name for name in names if name not in SCOPES]
    if unknown:
        raise click.BadParameter(
            f"{unknown[0]!r} is not one of {', '.join(SCOPES)}.", param=parameter
        )
    return list(dict.fromkeys(names))


_key = click.argument("key", metavar="ID")


@click.group()
@options.redis_url
@click.pass_context
def keys(context: click.Context, redis_url: str | None) -> None:
    """Create, list, rotate and revoke the API keys of clients."""
    context.obj = operator_redis_url(redis_url, os.environ)


@keys.command("create")
@click.argument("name")
@click.option("--identity", required=True, help="The user that clients with the key act as.")
@click.option(
    "--scopes",
    multiple=True,
    default=["read,write"],
    show_default="read,write",
    callback=_read_scopes,
    metavar="SCOPES",
    help=f"What the key allows, separated by commas: {', '.join(SCOPES)}.",
)
@click.option(
    "--expires",
    "lifetime",
    type=options.Duration(never=True),
    default="never",
    show_default=True,
    help="When the key expires: 90d, 12h, 30m, or never.",
)
@options.as_json
@click.pass_obj
def create_key(
    redis_url: str,
    name: str,
    identity: str,
    scopes: list[str],
    lifetime: float | None,
    as_json: bool,
) -> None:
    """Create a key and print it, this once: only its hash is stored."""
    from millstream.cli import keys as command

    sys.exit(
        command.create(
            redis_url,
            name=name,
            identity=identity,
            scopes=scopes,
            lifetime_seconds=lifetime,
            as_json=as_json,
        )
    )


@keys.command("list")
@click.option("--all", "show_all", is_flag=True, help="Print expired and revoked keys, too.")
@options.as_json
@click.pass_obj
def list_keys(redis_url: str, show_all: bool, as_json: bool) -> None:
    """List the keys. The keys themselves are not stored, so they can't be printed."""
    from millstream.cli import keys as command

    sys.exit(command.list_keys(redis_url, show_all=show_all, as_json=as_json))


@keys.command("rotate")
@_key
@click.option(
    "--grace",
    type=options.Duration(),
    default="24h",
    show_default=True,
    help="For how long the older key stays valid; 0s: it ends at once.",
)
@click.option(
    "--expires",
    "lifetime",
    type=options.Duration(),
    help="When the new key expires.  [default: after as long as the older one was made for]",
)
@options.as_json
@click.pass_obj
def rotate_key(
    redis_url: str, key: str, grace: float, lifetime: float | None, as_json: bool
) -> None:
    """Create the successor of a key and print it. Both are valid for a while.

    The new key has the name, the identity and the scopes of the older one.
    """
    from millstream.cli import keys as command

    sys.exit(
        command.rotate(
            redis_url, key, grace_seconds=grace, lifetime_seconds=lifetime, as_json=as_json
        )
    )


@keys.command("revoke")
@_key
@options.as_json
@click.pass_obj
def revoke_key(redis_url: str, key: str, as_json: bool) -> None:
    """Revoke a key: APIs refuse it within a few seconds."""
    from millstream.cli import keys as command

    sys.exit(command.revoke(redis_url, key, as_json=as_json))
