"""Converts errors of an outage of Redis to the error for clients of HTTP, WebSocket, MCP and A2A."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from millstream.api.context import RequestContext
from millstream.api.process import Process
from millstream.shared.errors import UnavailableError
from millstream.shared.redis import OUTAGE_ERRORS, UNAVAILABLE, to_unavailable

log = logging.getLogger(__name__)


def unavailable(error: Exception, process: Process) -> UnavailableError:
    """Returns the client's error for one of OUTAGE_ERRORS. After a rejection, `/ok` checks Redis again at once."""
    if not isinstance(error, UNAVAILABLE):
        process.access.recheck()
    return to_unavailable(error)


@contextmanager
def unavailable_errors(context: RequestContext) -> Iterator[None]:
    """Raises UnavailableError in place of OUTAGE_ERRORS that are raised inside of the block."""
    try:
        yield
    except OUTAGE_ERRORS as error:
        log.warning("A call failed because Redis is unavailable or rejects it: %s", error)
        raise unavailable(error, context.process) from None
