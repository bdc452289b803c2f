"""Permits: what a use case gets for its question, and the only way to the records.

`RequestContext.authorize` makes them. Without one, a use case has no connection to Redis. A filter is judged on the
metadata of a record as it was read; what then changes the record hands its script the permit's guard, and the script
changes nothing if the metadata is not the same any more (scripts/parts/guard.lua).
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from millstream.api.process import Process
from millstream.shared import threads
from millstream.shared.access import ABSENT, NO_GUARD, Decision, guard_of
from millstream.shared.assistants import GraphDirectory
from millstream.shared.errors import ConflictError, RightsChangedError
from millstream.shared.events.hub import StreamHub
from millstream.shared.redis import Client

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
TRIES: Final = 10  # of a use case whose rights change meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit(Decision):
    """The right to do one thing, with the connections to do it."""

    process: Process

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadPermit(Permit):
    """The right to do one thing with one thread and its runs."""

    thread_id: str
    guard: str = NO_GUARD


def rejudged(
    act: Callable[Arguments, Coroutine[Any, Any, Result]],
) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
    """Repeats a use case whose rights changed between the judgement and its script.

    It then raises ConflictError if that happens again and again.
    """

    @wraps(act)
    async def repeat(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for _ in range(TRIES):
            try:
                return await act(*args, **kwargs)
            except RightsChangedError:
                continue
        raise ConflictError(
            "The record is being changed by many requests at the same time. Try again."
        )

    return repeat


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
    return ThreadPermit(
        process=permit.process,
        value=permit.value,
        filter=permit.filter,
        thread_id=thread_id,
        guard=guard,
    )
