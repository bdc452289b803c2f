"""Decisions on what a user may do, and the interface of what decides."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from millstream.shared.access.asks import Ask
from millstream.shared.access.filters import Filter
from millstream.shared.access.user import User
from millstream.shared.errors import ForbiddenError

NO_GUARD: Final = ""  # the caller may change the record, whatever its metadata
ABSENT: Final = "absent"  # guard: there was no such record


@dataclass(frozen=True, slots=True)
class Decision:
    """A permission. `filter` restricts it to some records; `value` is the request as the decider left it."""

    value: dict[str, Any] = field(default_factory=dict)
    filter: Filter | None = None  # None: all records

    def allows(self, metadata: Mapping[str, Any]) -> bool:
        """Returns whether a record with this metadata is one of those that the permission is for."""
        return self.filter is None or self.filter.matches(metadata)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata in the request, as the decider left it."""
        metadata = self.value.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    def stamp(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the metadata of a record to create: with what the filter demands.

        Raises ForbiddenError if the record would not be the caller's.
        """
        if self.filter is None:
            return dict(metadata)
        stamped = self.filter.merge_into(metadata)
        self.require(stamped)
        return stamped

    def require(self, metadata: Mapping[str, Any]) -> None:
        """Raises ForbiddenError if a record that is left with this metadata would not be the caller's."""
        if not self.allows(metadata):
            raise ForbiddenError("metadata: the record would be outside of what you may reach.")


Decide = Callable[[Ask, dict[str, Any]], Awaitable[Decision]]


def guard_of(metadata: bytes) -> str:
    """Returns the guard for metadata (JSON) that was judged: scripts compare it (scripts/parts/guard.lua)."""
    return hashlib.sha1(metadata, usedforsecurity=False).hexdigest()


class Authorizer(Protocol):
    """Decides questions about users."""

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        """Returns the permission.

        `value` has the names that docs/auth.md lists for the question, and may be changed in place.

        Raises:
            AccessError: the user may not do this.
            UnavailableError: nobody can decide now.
        """
        ...
