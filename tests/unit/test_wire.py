"""Structs survive packing for Redis, and unreadable bytes raise."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.shared.wire import (
    PROTOCOL,
    Call,
    GraphInfo,
    Reply,
    RunKwargs,
    RunSpec,
    SlotRecord,
    WorkerRecord,
    pack,
    unpack_call,
    unpack_graph,
    unpack_kwargs,
    unpack_reply,
    unpack_spec,
    unpack_worker,
)

TEXTS = st.text()
SPECS = st.builds(
    RunSpec,
    protocol=st.integers(0, 2**31),
    run_id=TEXTS,
    thread_id=TEXTS,
    assistant_id=TEXTS,
    graph_id=TEXTS,
    queue=TEXTS,
    strategy=TEXTS,
    temporary=st.booleans(),
    metadata=st.binary(),
    kwargs=st.binary(),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(SPECS)
def test_a_spec_survives_packing(spec: RunSpec) -> None:
    assert unpack_spec(pack(spec)) == spec


def test_a_worker_survives_packing_and_readers_of_older_versions() -> None:
    slot = SlotRecord(
        thread_id="t", run_id="r", graph_id="g", attempt=2, since=1, isolation="alone"
    )
    worker = WorkerRecord(worker_id="w", queues=["a", "b"], runs=[slot], draining_since=3)
    assert unpack_worker(pack(worker)) == worker
    newer = msgspec.msgpack.encode({"worker_id": "w", "field_of_a_newer_version": 1})
    assert unpack_worker(newer) == WorkerRecord(worker_id="w")
    with pytest.raises(msgspec.DecodeError):
        unpack_worker(b"\xc1")


@given(JSON)
def test_the_input_of_a_run_survives_packing(value: Any) -> None:
    """Includes integers beyond 64 bits and any text."""
    text = json.dumps({"input": value, "temporary": True}).encode()
    kwargs = unpack_kwargs(text)
    assert kwargs.temporary
    assert kwargs.input == value
    assert type(kwargs.input) is type(value)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**40])
def test_large_integers_stay_exact(number: int) -> None:
    assert unpack_kwargs(b'{"input": {"n": %d}}' % number).input == {"n": number}


def test_default_values_are_not_shared() -> None:
    one, other = unpack_kwargs(b"{}"), unpack_kwargs(b"{}")
    one.config["a"] = 1
    one.stream_mode.append("updates")
    assert (other.config, other.stream_mode) == ({}, ["values"])
    assert RunKwargs().config == {}


@pytest.mark.parametrize("given_call", [{}, {"a": [1, None, "\u00fc"], "b": {"c": 1.5}}])
def test_calls_graphs_and_replies_survive_packing(given_call: dict[str, Any]) -> None:
    call = Call(call_id="c", verb="v", graph_id="g", arguments=given_call, deadline=1.25)
    assert unpack_call(pack(call)) == call
    info = GraphInfo(
        graph_id="g", queue="q", description="\u00fc", announced_at=2**52, renewed_at=2**53
    )
    assert unpack_graph(pack(info)) == info
    for reply in (Reply(body=b"\x00\xff"), Reply(error="e", kind="invalid")):
        assert unpack_reply(pack(reply)) == reply


def test_a_spec_with_unknown_fields_is_read() -> None:
    spec = RunSpec(
        protocol=PROTOCOL, run_id="r", thread_id="t", assistant_id="a", graph_id="g", queue="q",
        strategy="enqueue", temporary=False, metadata=b"{}", kwargs=b"{}",
    )  # fmt: skip
    newer = msgspec.msgpack.encode([*msgspec.msgpack.decode(pack(spec)), "a field of tomorrow"])
    assert unpack_spec(newer) == spec


def test_a_spec_of_an_older_api_belongs_to_no_trace() -> None:
    older: list[Any] = [PROTOCOL, "r", "t", "a", "g", "q", "enqueue", False, b"{}", b"{}"]
    spec = unpack_spec(msgspec.msgpack.encode(older))
    assert (spec.traceparent, spec.tracestate, spec.request_id) == ("", "", "")


@pytest.mark.parametrize("unpack", [unpack_spec, unpack_call, unpack_graph, unpack_reply])
@pytest.mark.parametrize("data", [b"", b"\xc1", b"[]", msgspec.msgpack.encode([1, 2])])
def test_other_bytes_raise(unpack: Any, data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(data)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"temporary": "yes"}'])
def test_an_invalid_request_raises(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack_kwargs(data)
