"""The ids that each line of a request, an attempt, a call or a webhook has. They follow the tasks and threads of it.

They are structlog's context variables, so loggers that a project has configured itself can have them too.
"""

from structlog.contextvars import bind_contextvars, clear_contextvars

from millstream.shared.wire import RunSpec


def bind(**fields: str | int | None) -> None:
    """Adds fields to all further lines of the current task. Empty ones are left out."""
    bind_contextvars(**{name: value for name, value in fields.items() if value not in (None, "")})


def begin(**fields: str | int | None) -> None:
    """Starts the lines of a request, an attempt or a call: they have these fields, and none of an earlier one."""
    clear_contextvars()
    bind(**fields)


def bind_run(spec: RunSpec, *, attempt: int | None = None) -> None:
    """Adds the ids of a run to all further lines of the current task."""
    bind(
        run_id=spec.run_id,
        thread_id=spec.thread_id,
        attempt=attempt,
        graph_id=spec.graph_id,
        queue=spec.queue,
        request_id=spec.request_id,
    )


def begin_run(spec: RunSpec, *, attempt: int | None = None) -> None:
    """Starts the lines of one attempt of a run, or of its webhook: they have the run's ids alone."""
    clear_contextvars()
    bind_run(spec, attempt=attempt)
