"""`millstream acl`: the Redis user with the least permissions that an API, a worker or both need."""

import json
from dataclasses import dataclass

import click

from millstream.shared import store_items
from millstream.shared.permissions import Role, acl_rules


@dataclass(frozen=True, slots=True)
class AclOptions:
    """The options of `millstream acl`."""

    role: Role | None
    """None: both."""
    user: str
    with_store: bool
    json: bool


def rules_of(role: Role | None, *, with_store: bool) -> list[str]:
    """Returns the ACL rules of a role, without a password.

    They allow INFO too, without which processes check less of the server. The store is for workers alone: an API
    reaches it through them.
    """
    rules = ["-@all", *acl_rules(role), "+info"]
    if with_store and role is not Role.API:
        rules += [f"+{name.lower()}" for name in store_items.COMMANDS]
    return rules


def run(options: AclOptions) -> None:
    """Prints the command that creates the user."""
    rules = rules_of(options.role, with_store=options.with_store)
    if options.json:
        role = "all" if options.role is None else str(options.role)
        click.echo(json.dumps({"user": options.user, "role": role, "rules": rules}, indent=2))
    else:
        click.echo(f"ACL SETUSER {options.user} reset on >PASSWORD {' '.join(rules)}")
