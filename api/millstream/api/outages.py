"""Outages of Redis as clients learn of them: one mapping for HTTP, WebSocket, MCP and A2A."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from millstream.api.context import RequestContext
from millstream.api.process import Process
from millstream.shared.errors import UnavailableError
from millstream.shared.redis import OUTAGE_ERRORS, UNAVAILABLE, to_unavailable

log = logging.getLogger(__name__)


def unavailable(error: Exception, process: Process) -> UnavailableError:
    """Returns what a client gets for one of OUTAGE_ERRORS; `/ok` says soon what Redis rejects."""
    if not isinstance(error, UNAVAILABLE):
        process.access.recheck()
    return to_unavailable(error)


@contextmanager
def unavailable_errors(context: RequestContext) -> Iterator[None]:
    """Raises UnavailableError in place of OUTAGE_ERRORS that are raised inside of the block."""
    try:
        yield
    except OUTAGE_ERRORS as error:
        log.warning("A call is not served, Redis is unavailable or rejects it: %s", error)
        raise unavailable(error, context.process) from None
