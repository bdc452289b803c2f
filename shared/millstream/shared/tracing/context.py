"""W3C Trace Context: what a request says of the trace that its run belongs to. Pure.

Source: https://www.w3.org/TR/trace-context/.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from millstream.shared.errors import InvalidError

TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", re.ASCII
)
VERSION: Final = "00"
TRACEPARENT_CHARS: Final = 55  # of version 00, which has nothing behind the flags
MAX_TRACESTATE_CHARS: Final = 512  # which each system must be able to carry
MAX_REQUEST_ID_CHARS: Final = 128
# Entries of `configurable`. Source of the names: LangGraph's server.
TRACEPARENT_KEY: Final = "__otel_traceparent__"
TRACESTATE_KEY: Final = "__otel_tracestate__"


class TraceContext(NamedTuple):
    """A span that spans of another process are below; '' for none."""

    traceparent: str = ""
    tracestate: str = ""

    def __bool__(self) -> bool:
        """Whether there is such a span."""
        return bool(self.traceparent)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request that carry it."""
        headers = {"traceparent": self.traceparent, "tracestate": self.tracestate}
        return {name: value for name, value in headers.items() if value}

    @property
    def trace_id(self) -> str:
        """The id of its trace (32 hexadecimal digits), '' for none."""
        return self.traceparent[3:35]

    @property
    def span_id(self) -> str:
        """Its id (16 hexadecimal digits), '' for none."""
        return self.traceparent[36:52]


NO_TRACE: Final = TraceContext()


def trace_of_headers(traceparent: str | None, tracestate: str | None) -> TraceContext:
    """Returns the context that the headers of a request carry; what is invalid counts as absent."""
    if traceparent is None or not _is_traceparent(traceparent.strip()):
        return NO_TRACE
    state = (tracestate or "").strip()
    return TraceContext(traceparent.strip(), state if _is_tracestate(state) else "")


def trace_of_configurable(configurable: Mapping[str, Any]) -> TraceContext:
    """Returns the context that a run's `configurable` names; raises InvalidError for an invalid one."""
    parent = configurable.get(TRACEPARENT_KEY) or ""
    state = configurable.get(TRACESTATE_KEY) or ""
    if not parent:
        return NO_TRACE
    if not isinstance(parent, str) or not _is_traceparent(parent):
        raise InvalidError(f"config.configurable.{TRACEPARENT_KEY}: it is not a W3C traceparent")
    if not isinstance(state, str) or not _is_tracestate(state):
        raise InvalidError(
            f"config.configurable.{TRACESTATE_KEY}: it must be at most {MAX_TRACESTATE_CHARS} characters of ASCII"
        )
    return TraceContext(parent, state)


def request_id_of(header: str | None) -> str:
    """Returns the id of a request as records keep it: printable ASCII, of limited length."""
    text = (header or "")[:MAX_REQUEST_ID_CHARS]
    return text if text.isascii() and text.isprintable() else ""


def _is_traceparent(text: str) -> bool:
    if not TRACEPARENT.fullmatch(text) or len(text) > MAX_TRACESTATE_CHARS:
        return False
    return not text.startswith(VERSION) or len(text) == TRACEPARENT_CHARS


def _is_tracestate(text: str) -> bool:
    return len(text) <= MAX_TRACESTATE_CHARS and text.isascii() and text.isprintable()
