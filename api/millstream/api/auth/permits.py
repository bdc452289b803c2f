"""Permits: what a use case gets for its question, and the only way to the records.

`RequestContext.authorize` makes them. Without one, a use case has no connection to Redis. A filter is judged on the
metadata of a record as it was read; what then changes the record hands its script the permit's guard, and the script
changes nothing if the metadata is not the same any more (scripts/parts/guard.lua).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from millstream.api.process import Process
from millstream.shared import threads
from millstream.shared.access import Filter
from millstream.shared.assistants import GraphDirectory
from millstream.shared.errors import ForbiddenError
from millstream.shared.events.hub import StreamHub
from millstream.shared.redis import Client

NO_GUARD: Final = ""  # the caller may change the record, whatever its metadata
ABSENT: Final = "absent"  # guard: there was no such record


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to do one thing. `value` is the request as the decider left it; `filter` restricts the records."""

    process: Process
    value: dict[str, Any] = field(default_factory=dict)
    filter: Filter | None = None

    @property
    def redis(self) -> Client:
        """The process' client of Redis."""
        return self.process.redis

    @property
    def hub(self) -> StreamHub:
        """The process' reader of streams."""
        return self.process.hub

    @property
    def directory(self) -> GraphDirectory:
        """The assistants and graphs that workers serve."""
        return self.process.directory

    def allows(self, metadata: Mapping[str, Any]) -> bool:
        """Returns whether a record with this metadata is one of those that the permit is for."""
        return self.filter is None or self.filter.matches(metadata)

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


@dataclass(frozen=True, slots=True)
class ThreadPermit(Permit):
    """The right to do one thing with one thread and its runs."""

    thread_id: str = ""
    guard: str = NO_GUARD

    @property
    def is_absent(self) -> bool:
        """Whether there was no such thread."""
        return self.guard == ABSENT


async def judge_thread(
    permit: Permit,
    thread_id: str,
    *,
    missing: Callable[[], Exception] | None = None,
    may_be_absent: bool = False,
) -> ThreadPermit:
    """Returns the permit for a thread that its filter matches; see `RequestContext.authorize_thread`."""
    guard = NO_GUARD
    if permit.filter is not None:
        judged = await threads.read_metadata(permit.redis, thread_id)
        if judged is None:
            if not may_be_absent:
                raise missing() if missing else threads.not_found_error(thread_id)
            guard = ABSENT
        elif permit.filter.matches(judged.metadata):
            guard = guard_of(judged.stored)
        else:
            raise missing() if missing else threads.not_found_error(thread_id)
    return ThreadPermit(permit.process, permit.value, permit.filter, thread_id, guard)


def guard_of(metadata: bytes | None) -> str:
    """Returns the guard for metadata (JSON) that was judged; None for a record that does not exist."""
    if metadata is None:
        return ABSENT
    return hashlib.sha1(metadata, usedforsecurity=False).hexdigest()
