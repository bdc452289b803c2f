"""Converts errors of an outage of Redis to the error for clients of HTTP, WebSocket, MCP and A2A."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from millstream.api.context import RequestContext
from millstream.api.process import Process
from millstream.shared.errors import UnavailableError
from millstream.shared.redis import OUTAGE_ERRORS, UNAVAILABLE, OutageLog, to_unavailable

log = logging.getLogger(__name__)
_OUTAGES = OutageLog(log, "Requests")  # one line for each cause: an outage fails every request


def unavailable(error: Exception, process: Process) -> UnavailableError:
    """Logs one of OUTAGE_ERRORS and returns the client's error. After a rejection, `/ok` checks Redis again at once."""
    _OUTAGES.failed(error)
    if not isinstance(error, UNAVAILABLE):
        process.access.recheck()
    return to_unavailable(error)


@contextmanager
def unavailable_errors(context: RequestContext) -> Iterator[None]:
    """Raises UnavailableError in place of OUTAGE_ERRORS that are raised inside of the block."""
    try:
        yield
    except OUTAGE_ERRORS as error:
        raise unavailable(error, context.process) from None
