"""The scopes of API keys and JWTs, and what each allows."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """What a client may do with its credentials."""

    READ = "read"
    """Read and search what belongs to its identity."""
    WRITE = "write"
    """Change it too, and start runs."""
    ADMIN = "admin"
    """Everything of all users, and the figures of the deployment."""
    OPS = "ops"
    """Read the figures of the deployment (`/ops/…`, `/metrics`)."""


SCOPES: Final = tuple(str(scope) for scope in Scope)
READS: Final = frozenset(
    {"read", "search", "get", "list_namespaces"}
)  # actions that change nothing
OPS_RESOURCE: Final = "ops"


def sufficient_scopes(resource: str, action: str) -> tuple[Scope, ...]:
    """Returns the scopes of which any one allows an action on a resource, the least first."""
    if resource == OPS_RESOURCE:
        return (Scope.OPS, Scope.ADMIN) if action in READS else (Scope.ADMIN,)
    if action in READS:
        return (Scope.READ, Scope.WRITE, Scope.ADMIN)
    return (Scope.WRITE, Scope.ADMIN)


def allows(permissions: Iterable[str], resource: str, action: str) -> bool:
    """Returns whether one of a user's permissions is a scope that allows an action on a resource."""
    sufficient = sufficient_scopes(resource, action)
    return any(permission in sufficient for permission in permissions)
