"""Converts the project's users: the result of its authenticate function → JSON fields → the `ctx.user` of handlers."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec
from langgraph_sdk import Auth

log = logging.getLogger(__name__)

KNOWN: Final = ("identity", "display_name", "is_authenticated", "permissions")
STUDIO: Final = (
    "StudioUser"  # `kind` of the fields of a StudioUser; source: langgraph_sdk's is_studio_user
)
_reported: Final[set[str]] = set()  # fields that are no JSON


class InvalidUserError(Exception):
    """The result of the project's function is no user; the text says why."""


class ProjectUser(Mapping[str, Any]):
    """`ctx.user` in handlers: the fields as attributes and as items."""

    def __init__(self, fields: dict[str, Any]) -> None:
        """Takes the fields as they were stored."""
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        """Returns a field; raises AttributeError if the user has no such field."""
        try:
            return self.__dict__["_fields"][name]
        except KeyError:
            raise AttributeError(f"the user has no {name!r}") from None

    def __getitem__(self, name: str) -> Any:
        """Returns a field; raises KeyError."""
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names of the fields."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Returns the number of fields."""
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<user {self._fields.get('identity')!r}>"


def fields_of(result: object) -> dict[str, Any]:
    """Returns the fields of a user, as JSON values, from the result of the project's function.

    The result is a string (the identity), a mapping, an object with an identity, or a pair of permissions and one of
    these. Fields that have no form in JSON are left out. Raises InvalidUserError.
    """
    if isinstance(result, tuple):
        if len(result) != 2:
            raise InvalidUserError(
                f"it returned a tuple of {len(result)}, not of permissions and a user"
            )
        permissions, user = result
        return {**fields_of(user), "permissions": _permissions(permissions)}
    fields = _as_json(_raw_fields(result))
    identity = fields.get("identity")
    if not isinstance(identity, str) or not identity:
        kind = (
            type(result).__name__ if identity is None else f"identity of {type(identity).__name__}"
        )
        raise InvalidUserError(
            f"it returned a user without an identity, which is a string ({kind})"
        )
    authenticated = fields.get("is_authenticated")
    return {
        **fields,
        "display_name": str(fields.get("display_name") or identity),
        "is_authenticated": True if authenticated is None else bool(authenticated),
        "permissions": _permissions(fields.get("permissions")),
    }


def user_of(data: bytes) -> Any:
    """Returns the object that handlers get as `ctx.user`, for the JSON of its fields."""
    fields = msgspec.json.decode(data)
    if fields.get("kind") == STUDIO:
        return Auth.types.StudioUser(fields["identity"], is_authenticated=True)
    return ProjectUser(fields)


def _raw_fields(result: object) -> dict[str, Any]:
    if isinstance(result, str):
        return {"identity": result}
    if isinstance(result, Mapping):
        return {str(name): value for name, value in result.items()}
    if result is None or not hasattr(result, "identity"):
        raise InvalidUserError(f"it returned {type(result).__name__}, which is no user")
    if dataclasses.is_dataclass(result):
        fields = {each.name: getattr(result, each.name) for each in dataclasses.fields(result)}
    elif isinstance(result, msgspec.Struct):
        fields = msgspec.structs.asdict(result)
    elif hasattr(result, "model_dump"):  # pydantic
        fields = dict(result.model_dump())
    else:
        fields = {k: v for k, v in getattr(result, "__dict__", {}).items() if not k.startswith("_")}
    fields |= {name: getattr(result, name) for name in KNOWN if hasattr(result, name)}
    if isinstance(result, Auth.types.StudioUser):
        fields["kind"] = STUDIO
    return fields


def _as_json(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields as JSON values; leaves out, and logs once, each that has no form in JSON."""
    values = {}
    for name, value in fields.items():
        try:
            values[name] = msgspec.json.decode(msgspec.json.encode(value))
        except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
            if name not in _reported and len(_reported) < 100:
                _reported.add(name)
                log.warning(
                    "the field %r of users is left out: %s has no form in JSON",
                    name,
                    type(value).__name__,
                )
    return values


def _permissions(permissions: object) -> list[str]:
    if permissions is None:
        return []
    if not isinstance(permissions, Sequence | AbstractSet) or isinstance(permissions, str | bytes):
        raise InvalidUserError(f"its permissions are {type(permissions).__name__}, not a list")
    if not all(isinstance(each, str) for each in permissions):
        raise InvalidUserError("its permissions are not all strings")
    return [str(each) for each in permissions]
