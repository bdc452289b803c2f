"""What clients get of the exceptions of graphs: their class and text, or with MASK_ERRORS only that the run failed.

All texts of exceptions pass through here on their way to clients. The log does not: it has the whole text
(failure.py). Texts of Millstream itself stay as they are: a timeout, a cancel, a run that was given up.
"""

from typing import Any, Final

from structlog.contextvars import get_contextvars

from millstream.worker.failure import describe_error

MASKED_CLASS: Final = "RunError"
MASKED_TEXT: Final = "The run failed."


class _Policy:
    is_masked = False


def mask_errors(*, is_on: bool) -> None:
    """Sets for this process whether clients get no text of an exception: MASK_ERRORS."""
    _Policy.is_masked = is_on


def show_error(error: BaseException) -> dict[str, str]:
    """Returns an exception in the form of events and records: `error`, which is its class, and `message`."""
    if _Policy.is_masked:
        return {"error": MASKED_CLASS, "message": _masked_text()}
    return describe_error(error)


def show_cause(failure: str, error: BaseException) -> str:
    """Returns what failed (`The factory of graph 'g' failed`), with the exception unless it is masked."""
    described = describe_error(error)
    return show_or(f"{failure}: {described['error']}: {described['message']}", masked=f"{failure}.")


def show_or(text: str, *, masked: str) -> str:
    """Returns a text that has parts of an exception, or the other one, which has none."""
    return masked if _Policy.is_masked else text


def show_text(text: str | None, run_id: str | None = None) -> str | None:
    """Returns the text that LangGraph made of an exception, or its mask. None stays None.

    Args:
        text: such as the `repr` of an exception in a checkpoint.
        run_id: of the run that raised it; None is the run of the current task.
    """
    return _masked_text(run_id) if _Policy.is_masked and text is not None else text


def show_task(task: dict[str, Any]) -> dict[str, Any]:
    """Returns LangGraph's event of a task, or one of the tasks in the event of a checkpoint."""
    if _Policy.is_masked and isinstance(task.get("error"), str):  # encode.py masks an exception
        return {**task, "error": _masked_text()}
    return task


def show_tasks(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Returns LangGraph's event of a checkpoint."""
    return {**checkpoint, "tasks": [show_task(task) for task in checkpoint["tasks"]]}


def show_event(event: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns an event whose field `name`, if it has one, is the text of an exception."""
    if _Policy.is_masked and event.get(name) is not None:
        return {**event, name: _masked_text()}
    return event


def _masked_text(run_id: str | None = None) -> str:
    run_id = run_id or get_contextvars().get("run_id")
    return f"{MASKED_TEXT} (run {run_id})" if run_id else MASKED_TEXT
