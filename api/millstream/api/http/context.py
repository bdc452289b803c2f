"""Converts a request to its context. Only this module reads the process from Starlette's state."""

import dataclasses
from typing import Final

from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.types import Scope

from millstream.api.caller import Caller
from millstream.api.context import RequestContext
from millstream.api.limits.caller_limits import CallerLimits, unlimited
from millstream.api.process import Process
from millstream.api.uuids import canonical_uuid
from millstream.shared import logs
from millstream.shared.access import Ask
from millstream.shared.errors import UnauthenticatedError
from millstream.shared.tracing.context import TraceContext, trace_of_headers

# In the scope of a request that has a span: the span. Its use case may be executed in another task, where it is not
# the current one.
SPAN: Final = "millstream.span"
LIMITS: Final = "millstream.limits"  # in the scope of a request: its CallerLimits, of limits.py
REQUEST_ID: Final = "millstream.request_id"  # in the scope of a request: its id, of access_log.py
USER: Final = (
    "millstream.user"  # in the scope of a request: the access.User that it is authenticated as
)
# In the scope of an authenticated request: authenticates its credentials again.
AUTHENTICATE: Final = "millstream.authenticate"
# In the scope of a request that is authenticated in a project's application: the process of the API.
PROCESS: Final = "millstream.process"
QUESTIONS: Final = "millstream.questions"
ID_NAMES: Final = ("thread_id", "run_id")  # of parameters in paths


def attach(app: Starlette, process: Process) -> None:
    """Stores the process in the application, where `process_of` finds it."""
    app.state.process = process


def process_in(app: Starlette) -> Process | None:
    """Returns the application's process, or None before it has started."""
    process: Process | None = getattr(app.state, "process", None)
    return process


def process_of_scope(scope: Scope) -> Process:
    """Returns the process that serves the request or the WebSocket of a scope."""
    process: Process = scope.get(PROCESS) or scope["app"].state.process
    return process


def process_of(connection: HTTPConnection) -> Process:
    """Returns the process that serves a request or a WebSocket."""
    return process_of_scope(connection.scope)


def limits_of(connection: HTTPConnection) -> CallerLimits:
    """Returns what the caller of a request or a WebSocket may use."""
    limits: CallerLimits | None = connection.scope.get(LIMITS)
    return limits or unlimited()  # for probes


def context_of(connection: HTTPConnection) -> RequestContext:
    """Returns the context that use cases take, from a request or a WebSocket.

    From here on, the lines of the log have the ids in the path.
    """
    process = process_of(connection)
    http, headers = process.http, connection.headers
    path = connection.path_params
    logs.bind(**{name: canonical_uuid(path[name]) for name in ID_NAMES if name in path})
    caller = Caller(
        run_headers=http.headers_for_runs(headers.items()) if http.configurable_headers else {},
        request_id=connection.scope.get(REQUEST_ID),
        limits=limits_of(connection),
        trace=trace_of(connection),
        user=connection.scope.get(USER),
    )
    return RequestContext(process, caller, questions_of(connection))


async def renewed(connection: HTTPConnection, context: RequestContext) -> RequestContext:
    """Returns the context for the next command of a connection, whose credentials and rights are checked anew.

    Raises UnauthenticatedError if the credentials do not name the same user any more, and what authenticators raise.
    """
    user = context.caller.user
    if user is not None:
        again = await connection.scope[AUTHENTICATE]()
        if again.identity != user.identity:
            raise UnauthenticatedError
        user = again
    caller = dataclasses.replace(context.caller, user=user)
    return RequestContext(context.process, caller, context.questions)


def questions_of(connection: HTTPConnection) -> set[Ask]:
    """Returns the questions about the caller's rights that the request has led to so far."""
    questions: set[Ask] = connection.scope.setdefault(QUESTIONS, set())
    return questions


def trace_of(connection: HTTPConnection) -> TraceContext:
    """Returns the span of a request, or else the client's, as the headers of a request or a WebSocket name it."""
    span: TraceContext | None = connection.scope.get(SPAN)
    if span:
        return span
    headers = connection.headers
    return trace_of_headers(headers.get("traceparent"), headers.get("tracestate"))
