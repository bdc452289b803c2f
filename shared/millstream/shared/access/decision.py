"""Decisions on what a user may do, and the interface of what decides."""

from dataclasses import dataclass
from typing import Any, Protocol

from millstream.shared.access.asks import Ask
from millstream.shared.access.filters import Filter
from millstream.shared.access.user import User


@dataclass(frozen=True, slots=True)
class Decision:
    """A permission. `filter` restricts it to some records; `value` is the request as the decider left it."""

    value: dict[str, Any]
    filter: Filter | None = None  # None: all records


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
