"""Shared by routes of runs: the ids in their paths, and responses that follow a run."""

from collections.abc import Mapping, Sequence

from millstream.api.context import RequestContext
from millstream.api.http.body import parse_uuid
from millstream.api.http.resume import RunLocation
from millstream.api.http.sse import EventStream, FinalOutput, Output
from millstream.api.runs import end_operations, operations
from millstream.api.runs.operations import FollowedRun
from millstream.shared import runs


def run_ids(path: Mapping[str, str]) -> tuple[str, str]:
    """Returns the thread id and run id of a path. A stateless run's thread id follows from its run id."""
    run_id = parse_uuid(path["run_id"], "run")
    if "thread_id" in path:
        return parse_uuid(path["thread_id"], "thread"), run_id
    return runs.stateless_thread_id(run_id), run_id


def event_stream(
    context: RequestContext,
    followed: FollowedRun,
    thread_id: str | None,
    *,
    modes: Sequence[str] = (),
    cancels: bool,
) -> EventStream:
    """Returns a response that streams the run's events.

    Args:
        context: of the request.
        followed: the run; its reader is closed with the response.
        thread_id: the thread in the path, None for a stateless run.
        modes: the stream modes to send, all if empty.
        cancels: whether the run is cancelled when the client leaves.
    """
    location = RunLocation(followed.run_id, thread_id)
    return EventStream(
        followed.reader,
        followed.watch,
        headers=location.headers("stream", followed.begins, modes=modes, cancel=cancels),
        keepalive=context.settings.keepalive,
        modes=frozenset(modes),
        on_leave=end_operations.cancel_on_leave(context, followed) if cancels else None,
    )


def final_output(
    context: RequestContext,
    followed: FollowedRun,
    route: str,
    *,
    cancels: bool,
    output: Output | None = None,
) -> FinalOutput:
    """Returns a response that waits for the run's end.

    Args:
        context: of the request.
        followed: the run; its reader is closed with the response.
        route: below the run's path, where a client continues to wait.
        cancels: whether the run is cancelled when the client leaves.
        output: returns the body for the run's last event; None for the run's final state.
    """
    return FinalOutput(
        followed.reader,
        followed.watch,
        output or (lambda end: operations.final_output(followed, end)),
        # The LangGraph Platform API names the thread here, also for a stateless run.
        headers=RunLocation(followed.run_id, followed.thread_id).headers(route, cancel=cancels),
        keepalive=context.settings.keepalive,
        on_leave=end_operations.cancel_on_leave(context, followed) if cancels else None,
    )
