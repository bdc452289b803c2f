"""The key ring: what it seals, and which keys open it where."""

import pytest

from millstream.shared.errors import SealedError
from millstream.shared.sealing import NO_KEYS, KeyRing, key_ring_of, open_key_ring
from millstream.shared.sealing.fields import seal_events, seal_thread
from millstream.shared.sealing.key_ring import OVERHEAD_BYTES
from millstream.shared.sealing.structs import (
    open_call,
    pack_call,
    pack_reply,
    pack_spec,
    unpack_sealed_reply,
    unpack_sealed_spec,
)
from millstream.shared.settings import Settings
from millstream.shared.wire import (
    PROTOCOL,
    SEALED,
    Call,
    Reply,
    RunSpec,
    pack,
    unpack_call,
    unpack_kwargs,
    unpack_spec,
)

OLD, NEW = b"o" * 32, b"n" * 16
LOCATION = "thread values"
SPEC = RunSpec(
    protocol=PROTOCOL, run_id="r", thread_id="t", assistant_id="a", graph_id="g", queue="q",
    strategy="enqueue", temporary=False, metadata=b'{"owner":"me"}', kwargs=b'{"input":"secret"}',
    caller_headers={"x-user": "secret"}, user=b'{"identity":"secret"}', identity="me",
)  # fmt: skip


@pytest.mark.parametrize("plain", [b"1", b'{"a":"secret"}', b"x" * 100_000])
def test_a_sealed_value_has_no_plain_text_and_is_opened_at_its_place(plain: bytes) -> None:
    ring = KeyRing([OLD])
    stored = ring.seal(LOCATION, plain)
    assert stored.startswith(SEALED)
    assert len(stored) == len(plain) + OVERHEAD_BYTES
    assert plain not in stored[OVERHEAD_BYTES - 16 :]
    assert stored != ring.seal(LOCATION, plain)  # each has its own nonce
    assert ring.open(LOCATION, stored) == plain


@pytest.mark.parametrize("location", ["thread output", "other values", "thread/run values"])
def test_a_sealed_value_is_not_opened_at_another_place(location: str) -> None:
    ring = KeyRing([OLD])
    with pytest.raises(SealedError, match="belongs to another record"):
        ring.open(location, ring.seal(LOCATION, b"secret"))


def test_each_changed_or_missing_byte_is_noticed() -> None:
    ring = KeyRing([OLD])
    stored = ring.seal(LOCATION, b"secret")
    for at in range(len(SEALED), len(stored)):
        changed = stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :]
        with pytest.raises(SealedError, match="LANGGRAPH_AES_KEY"):
            ring.open(LOCATION, changed)
        with pytest.raises(SealedError, match="LANGGRAPH_AES_KEY"):
            ring.open(LOCATION, stored[:at])


def test_the_first_key_seals_and_all_keys_open() -> None:
    old, both = KeyRing([OLD]), KeyRing([NEW, OLD])
    assert both.open(LOCATION, old.seal(LOCATION, b"old")) == b"old"
    new = both.seal(LOCATION, b"new")
    assert KeyRing([NEW]).open(LOCATION, new) == b"new"
    assert both.fingerprint == KeyRing([NEW]).fingerprint != old.fingerprint
    assert both.fingerprints == [both.fingerprint, old.fingerprint]
    with pytest.raises(SealedError, match="neither LANGGRAPH_AES_KEY nor one of") as error:
        old.open(LOCATION, new)
    assert both.fingerprint in str(error.value)
    with pytest.raises(SealedError, match="set LANGGRAPH_AES_KEY to the key with the fingerprint"):
        NO_KEYS.open(LOCATION, new)
    for secret in (OLD, NEW):
        assert secret.decode() not in f"{both!r} {error.value}"


def test_plain_and_empty_values_stay_as_they_are() -> None:
    ring = KeyRing([OLD])
    assert ring.open(LOCATION, b'{"a":1}') == b'{"a":1}'
    assert ring.seal(LOCATION, b"") == ring.open(LOCATION, b"") == b""
    assert NO_KEYS.seal(LOCATION, b"plain") == b"plain"
    assert not NO_KEYS.is_sealing
    assert NO_KEYS.fingerprint == ""
    assert key_ring_of(object()) is open_key_ring(Settings()) is NO_KEYS


def test_the_settings_name_the_keys() -> None:
    ring = open_key_ring(Settings(aes_key="n" * 16, aes_fallback_keys=f"{'x' * 24},{'o' * 32}"))
    assert ring.fingerprints == [KeyRing([key]).fingerprint for key in (NEW, b"x" * 24, OLD)]


def test_a_spec_keeps_only_ids_and_metadata_readable() -> None:
    ring = KeyRing([OLD])
    packed = pack_spec(ring, SPEC)
    assert b"secret" not in packed
    readable = unpack_spec(packed)
    assert (readable.metadata, readable.identity, readable.user) == (SPEC.metadata, "me", b"")
    assert readable.caller_headers == {}
    assert unpack_sealed_spec(ring, packed) == SPEC
    assert unpack_sealed_spec(ring, pack(SPEC)) == SPEC  # of a time without a key
    assert pack_spec(NO_KEYS, SPEC) == pack(SPEC)
    blind = unpack_sealed_spec(NO_KEYS, packed)
    assert blind.metadata == SPEC.metadata
    with pytest.raises(SealedError, match="LANGGRAPH_AES_KEY"):
        unpack_kwargs(blind.kwargs)


def test_a_spec_is_not_opened_as_another_run() -> None:
    ring = KeyRing([OLD])
    moved = unpack_spec(pack_spec(ring, SPEC))
    other = RunSpec(
        **{name: getattr(moved, name) for name in RunSpec.__struct_fields__} | {"run_id": "r2"}
    )
    with pytest.raises(SealedError):
        unpack_kwargs(unpack_sealed_spec(ring, pack(other)).kwargs)


def test_a_call_and_its_reply_are_sealed_and_any_worker_can_refuse_the_call() -> None:
    ring = KeyRing([OLD])
    call = Call(
        call_id="c",
        verb="state",
        graph_id="g",
        arguments={"a": "secret"},
        deadline=1.0,
        user=b"secret",
    )
    packed = pack_call(ring, call)
    assert b"secret" not in packed
    outer = unpack_call(packed)
    assert (outer.call_id, outer.deadline, outer.arguments) == ("c", 1.0, {})
    assert open_call(ring, outer) == call
    assert pack_call(NO_KEYS, call) == pack(call)
    with pytest.raises(SealedError):
        open_call(NO_KEYS, outer)
    for reply in (Reply(body=b"secret"), Reply(error="secret", kind="graph")):
        stored = pack_reply(ring, "c", reply)
        assert b"secret" not in stored
        assert unpack_sealed_reply(ring, "c", stored) == reply
        with pytest.raises(SealedError):
            unpack_sealed_reply(ring, "d", stored)
        assert pack_reply(NO_KEYS, "c", reply) == pack(reply)


def test_only_users_data_of_a_thread_and_of_events_are_sealed() -> None:
    ring = KeyRing([OLD])
    fields = {
        "values": b"1",
        "error": b"",
        "interrupts": "{}",
        "metadata": b"{}",
        "idle_status": "idle",
    }
    sealed = seal_thread(ring, "t", fields)
    assert {name for name, value in sealed.items() if value != fields[name]} == {
        "values",
        "interrupts",
    }
    assert ring.open("t interrupts", sealed["interrupts"]) == b"{}"
    assert seal_thread(NO_KEYS, "t", fields) == fields
    items: list[str | bytes] = ["values", b"1", "custom", "2"]
    names = seal_events(ring, SPEC, items)
    assert list(names[::2]) == ["values", "custom"]
    assert [ring.open("t/r event", bytes(data)) for data in names[1::2]] == [b"1", b"2"]  # type: ignore[arg-type]
    assert seal_events(NO_KEYS, SPEC, items) is items
