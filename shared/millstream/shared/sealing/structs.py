"""Packs the structs of wire.py with their users' data sealed, and unpacks them. Other fields stay readable."""

from typing import Any, Final

import msgspec

from millstream.shared.errors import SealedError
from millstream.shared.sealing import locations
from millstream.shared.sealing.key_ring import KeyRing
from millstream.shared.wire import (
    Assistant,
    Call,
    Reply,
    RunRequest,
    RunSpec,
    pack,
    unpack_assistant,
    unpack_call,
    unpack_reply,
    unpack_request,
    unpack_spec,
)

# The fields of a spec that are sealed together, as the value of its `kwargs`.
SPEC_FIELDS: Final = ("kwargs", "caller_headers", "user", "access_secret")
ASSISTANT_FIELDS: Final = ("config", "context")  # each is sealed alone

_encode = msgspec.msgpack.encode


class _SpecFields(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The sealed part of a spec. Only append fields with defaults."""

    kwargs: bytes = b""
    caller_headers: dict[str, str] = {}
    user: bytes = b""
    access_secret: str = ""


_spec_fields = msgspec.msgpack.Decoder(_SpecFields)


def pack_spec(key_ring: KeyRing, spec: RunSpec) -> bytes:
    """Returns the spec as its run's record has it."""
    if not key_ring.is_sealing:
        return pack(spec)
    fields = _SpecFields(**{name: getattr(spec, name) for name in SPEC_FIELDS})
    location = locations.of_run(spec.thread_id, spec.run_id, "spec")
    sealed: dict[str, Any] = {name: getattr(_PLAIN_SPEC, name) for name in SPEC_FIELDS}
    sealed["kwargs"] = key_ring.seal(location, _encode(fields))
    return pack(msgspec.structs.replace(spec, **sealed))


def unpack_sealed_spec(key_ring: KeyRing, packed: bytes) -> RunSpec:
    """Returns the spec. If no key opens it, its `kwargs` stay sealed; `wire.require_plain` then raises SealedError.

    So an API or a worker without the key can still list, cancel and end the run. Raises msgspec.DecodeError for invalid
    bytes.
    """
    spec = unpack_spec(packed)
    try:
        opened = key_ring.open(locations.of_run(spec.thread_id, spec.run_id, "spec"), spec.kwargs)
    except SealedError:
        return spec
    if opened is spec.kwargs:
        return spec
    fields = _spec_fields.decode(opened)
    return msgspec.structs.replace(spec, **{name: getattr(fields, name) for name in SPEC_FIELDS})


def pack_request(key_ring: KeyRing, cron_id: str, request: RunRequest) -> bytes:
    """Returns the request of a cron as its record has it."""
    return key_ring.seal(locations.of_cron(cron_id, "request"), pack(request))


def unpack_sealed_request(key_ring: KeyRing, cron_id: str, packed: bytes) -> RunRequest:
    """Returns the request; raises SealedError, and msgspec.DecodeError for invalid bytes."""
    return unpack_request(key_ring.open(locations.of_cron(cron_id, "request"), packed))


def pack_assistant(key_ring: KeyRing, assistant: Assistant) -> bytes:
    """Returns a version of an assistant as its record has it."""
    sealed: dict[str, Any] = {
        name: key_ring.seal(
            locations.of_assistant(assistant.assistant_id, name), getattr(assistant, name)
        )
        for name in ASSISTANT_FIELDS
    }
    return pack(msgspec.structs.replace(assistant, **sealed))


def unpack_sealed_assistant(key_ring: KeyRing, packed: bytes) -> Assistant:
    """Returns the version; raises SealedError, and msgspec.DecodeError for invalid bytes."""
    assistant = unpack_assistant(packed)
    opened: dict[str, Any] = {
        name: key_ring.open(
            locations.of_assistant(assistant.assistant_id, name), getattr(assistant, name)
        )
        for name in ASSISTANT_FIELDS
    }
    return msgspec.structs.replace(assistant, **opened)


def pack_call(key_ring: KeyRing, call: Call) -> bytes:
    """Returns the call as its queue has it. Its id and its deadline stay readable, so that any worker can reply."""
    if not key_ring.is_sealing:
        return pack(call)
    sealed = key_ring.seal(locations.of_call(call.call_id, "call"), pack(call))
    return pack(
        Call(
            call_id=call.call_id,
            verb=call.verb,
            graph_id=call.graph_id,
            arguments={},
            deadline=call.deadline,
            request_id=call.request_id,
            sealed=sealed,
        )
    )


def open_call(key_ring: KeyRing, call: Call) -> Call:
    """Returns the call that was packed; raises SealedError."""
    if not call.sealed:
        return call
    return unpack_call(key_ring.open(locations.of_call(call.call_id, "call"), call.sealed))


def pack_reply(key_ring: KeyRing, call_id: str, reply: Reply) -> bytes:
    """Returns the reply as the caller reads it."""
    if not key_ring.is_sealing:
        return pack(reply)
    return pack(Reply(sealed=key_ring.seal(locations.of_call(call_id, "reply"), pack(reply))))


def unpack_sealed_reply(key_ring: KeyRing, call_id: str, packed: bytes) -> Reply:
    """Returns the reply; raises SealedError."""
    reply = unpack_reply(packed)
    if not reply.sealed:
        return reply
    return unpack_reply(key_ring.open(locations.of_call(call_id, "reply"), reply.sealed))


_PLAIN_SPEC: Final = RunSpec(
    protocol=0, run_id="", thread_id="", assistant_id="", graph_id="", queue="", strategy="",
    temporary=False, metadata=b"", kwargs=b"",
)  # fmt: skip
