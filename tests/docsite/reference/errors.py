"""Errors: of the table from error to status, and of the names that a run's end may have."""

import inspect
from typing import Final

from docsite.reference.markdown import code, paragraph, table
from millstream.api.http.problems import STATUS
from millstream.shared import errors

PAGE: Final = """\
# Errors

The body of every error is JSON: `{"detail": "…"}`. The text names the field, and what to do. A request that fails has
changed nothing, unless this page says otherwise.

## Status of a request

"""
MORE: Final = """\
A response with 503 or 429 has `Retry-After`, in seconds. A wrong method is 404, as on LangGraph's server. An error of
Redis is 503 as long as Redis is unavailable, and another exception is 500 with `Internal Server Error`, while the log
has the traceback.

Commands of the [event streaming protocol](../protocol.md#commands) have codes instead, with status 200, and so do
[A2A and MCP](../mcp-a2a.md).

"""


def _when(kind: type[Exception]) -> str:
    """Returns the first sentence of an error's docstring; the others say what its attributes are."""
    return f"{paragraph(kind.__doc__).split('. ')[0].rstrip('.')}."


def page() -> str:
    """Returns the page."""
    rows = [
        (str(status), code(kind.__name__), _when(kind))
        for kind, status in sorted(STATUS.items(), key=lambda row: row[1])
    ]
    inner = [
        (code(name), _when(kind))
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.MillstreamError)
        and kind not in STATUS
        and kind is not errors.MillstreamError
    ]
    return "".join(
        [
            PAGE,
            table(["Status", "In the code", "When"], rows),
            MORE,
            "## Errors that are no response\n\n",
            table(["In the code", "When"], inner),
        ]
    )
