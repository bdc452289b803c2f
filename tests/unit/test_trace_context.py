"""W3C Trace Context in headers and in `configurable`."""

from typing import Any

import pytest

from millstream.shared.errors import InvalidError
from millstream.shared.tracing.context import (
    NO_TRACE,
    TraceContext,
    request_id_of,
    trace_of_configurable,
    trace_of_headers,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
INVALID = [
    "",
    "hello",
    PARENT.upper(),
    f"ff-{TRACE}-b7ad6b7169203331-01",
    f"00-{'0' * 32}-b7ad6b7169203331-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"{PARENT}-more",
    PARENT[:-1],
    f"01-{TRACE}-b7ad6b7169203331-01-" + "x" * 600,
]


def test_a_valid_header_gives_a_context() -> None:
    assert trace_of_headers(f" {PARENT} ", " a=1,b=2 ") == TraceContext(PARENT, "a=1,b=2")
    assert trace_of_headers(PARENT, None) == TraceContext(PARENT)
    assert TraceContext(PARENT).trace_id == TRACE


def test_a_later_version_may_have_more() -> None:
    later = f"01-{TRACE}-b7ad6b7169203331-01-more"
    assert trace_of_headers(later, None).traceparent == later


@pytest.mark.parametrize("header", INVALID)
def test_an_invalid_header_counts_as_absent(header: str) -> None:
    assert trace_of_headers(header, "a=1") == NO_TRACE
    assert trace_of_headers(None, "a=1") == NO_TRACE
    assert not NO_TRACE


@pytest.mark.parametrize("state", ["x" * 513, "a=\u00e9", "a=\n1"])
def test_an_invalid_state_is_dropped_and_the_parent_kept(state: str) -> None:
    assert trace_of_headers(PARENT, state) == TraceContext(PARENT)


def test_configurable_names_a_context() -> None:
    configurable = {"__otel_traceparent__": PARENT, "__otel_tracestate__": "a=1", "other": 1}
    assert trace_of_configurable(configurable) == TraceContext(PARENT, "a=1")
    assert trace_of_configurable({"__otel_traceparent__": None}) == NO_TRACE
    assert trace_of_configurable({"__otel_tracestate__": "a=1"}) == NO_TRACE


@pytest.mark.parametrize("value", [*INVALID[1:], 7, ["x"], {"a": 1}])
def test_an_invalid_context_in_configurable_is_named(value: Any) -> None:
    with pytest.raises(InvalidError, match="__otel_traceparent__"):
        trace_of_configurable({"__otel_traceparent__": value})


@pytest.mark.parametrize("value", ["x" * 513, 7])
def test_an_invalid_state_in_configurable_is_named(value: Any) -> None:
    with pytest.raises(InvalidError, match="__otel_tracestate__"):
        trace_of_configurable({"__otel_traceparent__": PARENT, "__otel_tracestate__": value})


def test_the_headers_of_a_context_leave_out_what_is_empty() -> None:
    assert TraceContext(PARENT).headers == {"traceparent": PARENT}
    assert TraceContext(PARENT, "a=1").headers == {"traceparent": PARENT, "tracestate": "a=1"}
    assert NO_TRACE.headers == {}


@pytest.mark.parametrize(
    ("header", "request_id"), [(None, ""), ("r-1", "r-1"), ("x" * 200, "x" * 128), ("a\tb", "")]
)
def test_a_request_id_is_bounded(header: str | None, request_id: str) -> None:
    assert request_id_of(header) == request_id
