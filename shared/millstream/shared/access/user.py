"""The user that a request is authenticated as, or that a run is executed for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

MAX_IDENTITY_CHARS: Final = 512
MAX_USER_BYTES: Final = 64 * 1024  # of JSON; each run of the user stores it


@dataclass(frozen=True, slots=True)
class User:
    """A user, as its authenticator describes it. Make it with `User.of`.

    Attributes:
        fields: JSON values: `identity`, `display_name`, `is_authenticated`, `permissions`, and what else the
            authenticator returned. Source of the names: `langgraph_sdk.Auth`.
    """

    fields: dict[str, Any]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "User":
        """Returns the user with these fields, and defaults for the missing ones.

        Raises ValueError for an invalid identity or permissions, and for fields that are not JSON or too large.
        """
        identity, permissions = fields.get("identity"), fields.get("permissions")
        if not isinstance(identity, str) or not 0 < len(identity) <= MAX_IDENTITY_CHARS:
            raise ValueError(f"identity: must be a text of 1 to {MAX_IDENTITY_CHARS} characters")
        permissions = [] if permissions is None else list(permissions)
        if not all(isinstance(each, str) for each in permissions):
            raise ValueError("permissions: must be a list of texts")
        user = cls(
            {
                "is_authenticated": True,
                **fields,
                "identity": identity,
                "display_name": fields.get("display_name") or identity,
                "permissions": permissions,
            }
        )
        try:
            packed = user.pack()
        except (TypeError, ValueError, RecursionError):  # msgspec's, for what JSON can't hold
            raise ValueError("its fields must be JSON values") from None
        if len(packed) > MAX_USER_BYTES:
            raise ValueError(f"{len(packed)} bytes as JSON; the limit is {MAX_USER_BYTES}")
        return cls(msgspec.json.decode(packed))

    @property
    def identity(self) -> str:
        """The user's unique name."""
        return str(self.fields["identity"])

    @property
    def display_name(self) -> str:
        """The user's name for people."""
        return str(self.fields["display_name"])

    @property
    def permissions(self) -> list[str]:
        """What the user may do, in the words of its authenticator."""
        permissions: list[str] = self.fields["permissions"]
        return permissions

    @property
    def is_authenticated(self) -> bool:
        """Whether the authenticator knows the user; it refuses a request of an unknown one."""
        return bool(self.fields["is_authenticated"])

    def pack(self) -> bytes:
        """Returns the fields as JSON, as records of runs and calls carry them."""
        return msgspec.json.encode(self.fields)


def unpack_user(packed: bytes) -> User | None:
    """Returns the user of a record; None for b'', a record without authentication."""
    return User(msgspec.json.decode(packed, type=dict[str, Any])) if packed else None
