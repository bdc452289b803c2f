"""The client that a use case acts for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from millstream.api.limits.caller_limits import CallerLimits, unlimited
from millstream.shared.access import User
from millstream.shared.tracing.context import NO_TRACE, TraceContext


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of one request."""

    user: User | None = None  # None without authentication: each may do everything
    # Headers of the request that `http.configurable_headers` adds to a run's `configurable`.
    run_headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str | None = None  # as a proxy or the client sent it, or a new one
    limits: CallerLimits = field(default_factory=unlimited)  # what the request has taken
    trace: TraceContext = NO_TRACE  # the request's span, or else the client's
