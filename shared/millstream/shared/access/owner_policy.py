"""What users of API keys and JWTs may do: what their scopes allow, with what belongs to them.

A thread, assistant or cron belongs to the identity in `owner` of its metadata, which is set when it is created. A
namespace of the store belongs to the identity that it begins with. With the scope `admin`, a user reaches everything.
"""

from typing import Any, Final

from millstream.shared.access.asks import Ask
from millstream.shared.access.decision import Decision
from millstream.shared.access.filters import Filter
from millstream.shared.access.user import User
from millstream.shared.errors import ForbiddenError
from millstream.shared.rules.scopes import Scope, allows, sufficient_scopes

# Field of a user: the built-in kind of credentials (rules/auth_kinds.py) that its request had. The users of a project's
# own `auth` never have it.
BUILT_IN: Final = "credentials"
OWNER: Final = "owner"  # in metadata
SYSTEM: Final = {"created_by": "system"}  # in the metadata of default assistants
# Actions that leave metadata behind.
STAMPED: Final = frozenset({"create", "update", "create_run"})


class OwnerPolicy:
    """Decides by scopes and owners."""

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        """Returns the permission, restricted to what belongs to the user. Raises ForbiddenError."""
        resource, _, action = ask.partition(".")
        if not allows(user.permissions, resource, action):
            needed = " or ".join(f"`{scope}`" for scope in sufficient_scopes(resource, action))
            raise ForbiddenError(
                f"{ask} needs the scope {needed}, and the credentials have {_listing(user.permissions)}."
            )
        is_admin = Scope.ADMIN in user.permissions
        if resource == "ops":
            return Decision(value)
        if resource == "store":
            if not is_admin:
                value["namespace"] = owned_namespace(user.identity, value.get("namespace") or ())
            return Decision(value)
        if action in STAMPED:
            _stamp(value, user.identity, action, is_admin=is_admin)
        if is_admin:
            return Decision(value)
        return Decision(value, _filter_of(user.identity, resource, action))


def owned_namespace(identity: str, namespace: Any) -> list[str]:
    """Returns the namespace, which begins with the user's label; for an empty prefix, the label alone.

    Raises ForbiddenError for a namespace of another user.
    """
    label = namespace_label(identity)
    labels = list(namespace)
    if not labels:
        return [label]
    if labels[0] != label:
        raise ForbiddenError(f"namespace: yours begin with {label!r}.")
    return labels


def namespace_label(identity: str) -> str:
    """Returns the first label of a user's namespaces: the identity, in which `.` is `%2E` and `%` is `%25`.

    Labels have no period, because namespaces in URLs are joined with periods.
    """
    return identity.replace("%", "%25").replace(".", "%2E")


def _filter_of(identity: str, resource: str, action: str) -> Filter:
    mine = {OWNER: identity}
    if resource == "assistants" and action in ("read", "search"):
        return Filter.of({"$or": [mine, SYSTEM]})
    return Filter.of(mine)


def _stamp(value: dict[str, Any], identity: str, action: str, *, is_admin: bool) -> None:
    """Sets the owner in the metadata of a request. An admin may name another one."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        if action == "update":
            return  # it leaves the metadata as it is
        metadata = {}
    stamped = dict(metadata)
    if is_admin:
        if action != "update":
            stamped.setdefault(OWNER, identity)
    else:
        stamped[OWNER] = identity
        if stamped.get("created_by") == SYSTEM["created_by"]:  # all could read it
            del stamped["created_by"]
    value["metadata"] = stamped


def _listing(permissions: list[str]) -> str:
    """Returns the first permissions as a text."""
    if not permissions:
        return "none"
    first = ", ".join(permissions[:10])
    return first if len(permissions) <= 10 else f"{first}, …"
