"""The first argument of each use case: the process that it runs in, and the caller that it acts for.

Each use case asks here whether the caller may do what it does. It gets a permit, without which it reaches no record.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from millstream.api.auth.permits import Permit, ThreadPermit, judge_thread
from millstream.api.caller import Caller
from millstream.api.limits.caller_limits import CallerLimits
from millstream.api.process import Process
from millstream.shared.access import Ask
from millstream.shared.errors import UnauthenticatedError
from millstream.shared.figures import FiguresCache
from millstream.shared.metrics.metrics import Metrics
from millstream.shared.observer import RunObserver
from millstream.shared.settings import Settings
from millstream.shared.tracing.context import request_id_of, trace_of_configurable
from millstream.shared.tracing.tracer import RunTracer
from millstream.shared.wire import RunRequest


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request's process and caller, without the request: use cases know no HTTP."""

    process: Process
    caller: Caller
    # The questions that the request has led to. Its route declares one of them (http/guarded.py).
    questions: set[Ask] = field(default_factory=set)
    # Permits to read, by thread, so that a request asks about a thread once.
    reads: dict[str, Permit] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self.process.settings

    @property
    def limits(self) -> CallerLimits:
        """What the caller may use of the process."""
        return self.caller.limits

    @property
    def figures(self) -> FiguresCache:
        """The state of all queues."""
        return self.process.figures

    @property
    def metrics(self) -> Metrics:
        """The metrics of the process."""
        return self.process.metrics

    @property
    def observer(self) -> RunObserver:
        """Receives reports of runs and streams."""
        return self.process.observer

    @property
    def tracer(self) -> RunTracer:
        """What makes spans of requests and runs."""
        return self.process.tracer

    def traced(self, request: RunRequest) -> RunRequest:
        """Returns the request with its user, its trace and its id: what `configurable` names goes before the headers.

        Raises InvalidError for an invalid entry of `configurable`.
        """
        trace = trace_of_configurable(request.config.configurable) or self.caller.trace
        return msgspec.structs.replace(
            request,
            traceparent=trace.traceparent,
            tracestate=trace.tracestate,
            request_id=request_id_of(self.caller.request_id),
            user=self.packed_user,
        )

    @property
    def packed_user(self) -> bytes:
        """The caller's user as records carry it; b"" without authentication."""
        return b"" if self.caller.user is None else self.caller.user.pack()

    # ── Questions ───────────────────────────────────────────────────────────────────────────

    async def authorize(self, ask: Ask, value: dict[str, Any]) -> Permit:
        """Returns the permit for what the caller asks, with the request as the decider left it.

        Raises AccessError if the caller may not do this, UnavailableError if nobody can decide now.
        """
        self.questions.add(ask)
        user, authorizer = self.caller.user, self.process.auth.authorizer
        if user is None:
            if self.process.auth.is_on:  # a route that was exempted, or a mistake: never allow
                raise UnauthenticatedError
            return Permit(value=value, process=self.process)
        if authorizer is None:
            return Permit(value=value, process=self.process)
        decision = await authorizer.decide(user, ask, value)
        return Permit(value=decision.value, filter=decision.filter, process=self.process)

    async def authorize_thread(
        self,
        ask: Ask,
        thread_id: str,
        value: dict[str, Any] | None = None,
        *,
        missing: Callable[[], Exception] | None = None,
        may_be_absent: bool = False,
    ) -> ThreadPermit:
        """Returns the permit for one thread. To a caller whose filter does not match it, the thread does not exist.

        Args:
            ask: the question.
            thread_id: the thread.
            value: what the decider gets beside the thread's id.
            missing: makes the error for a thread that does not exist, NotFoundError by default. A permit without a
                filter is given without a look at the thread, so that the use case raises that error.
            may_be_absent: whether a thread that does not exist is allowed.
        """
        if ask == "threads.read":
            permit = await self.authorize_reads(thread_id)
        else:
            permit = await self.authorize(ask, {"thread_id": thread_id, **(value or {})})
        return await judge_thread(permit, thread_id, missing=missing, may_be_absent=may_be_absent)

    async def authorize_reads(self, thread_id: str) -> Permit:
        """Returns the permit to read a thread, which the caller must still judge. The request asks for it once."""
        if thread_id not in self.reads:
            self.reads[thread_id] = await self.authorize("threads.read", {"thread_id": thread_id})
        return self.reads[thread_id]

    def as_server(self) -> Permit:
        """Returns a permit for what the server does by itself, not for the caller."""
        return Permit(process=self.process)

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self.process.hub.closing
