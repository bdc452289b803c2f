"""The structs that processes exchange through Redis, in msgpack. JSON inside of them stays bytes until it is used."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from millstream.shared.errors import InvalidError, SealedError
from millstream.shared.rules.multitask import Strategy

TOO_DEEP: Final = "Invalid JSON in request body: nested too deep"
PROTOCOL: Final = 2  # raised when older workers can't execute the runs of a newer API
# Begins each sealed value (sealing/key_ring.py): a byte that begins no JSON, no text and no msgpack, and a version.
SEALED: Final = b"\xc1\x01"


class LangsmithTracer(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Where LangSmith stores the trace of a run."""

    project_name: str | None = None
    example_id: str | None = None  # a UUID


class RunOptions(msgspec.Struct, kw_only=True, frozen=True):
    """The options of a run, which the worker applies. No code between the request and the worker depends on them.

    Each is declared here once, for requests, records of runs, crons, and runs that answer an interrupt. An attribute
    has its name in a request; `name` is its name in the `kwargs` of a Run, where that differs.
    """

    stream_mode: list[str] = msgspec.field(default_factory=lambda: ["values"])
    stream_subgraphs: bool = msgspec.field(default=False, name="subgraphs")
    stream_resumable: bool = msgspec.field(default=False, name="resumable")
    interrupt_before: list[str] | str | None = None
    interrupt_after: list[str] | str | None = None
    webhook: str | None = None
    feedback_keys: list[str] | None = None
    durability: str = "async"
    strict_resume: bool = False
    langsmith_tracer: LangsmithTracer | None = None


class RunConfig(msgspec.Struct, kw_only=True, frozen=True):
    """The config in a request for a run; None stands for the assistant's value."""

    configurable: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    tags: list[str] | None = None
    recursion_limit: int | None = None
    max_concurrency: int | None = None
    run_name: str | None = None


# The entries of a config that are not merged: the run's value replaces its assistant's.
UNMERGED: Final = tuple(
    name for name in RunConfig.__struct_fields__ if name not in ("configurable", "metadata")
)


class RunKwargs(RunOptions, kw_only=True, frozen=True):
    """The request of a run as the worker executes it and as clients read it in a Run's `kwargs`: the options, and the
    merged rest of the request. Source of the names: the LangGraph Platform API.
    """

    input: Any = None
    command: dict[str, Any] | None = None
    config: dict[str, Any] = {}
    context: dict[str, Any] = {}
    temporary: bool = False
    checkpoint_during: bool = True
    # The run stores the events of the event streaming protocol; unset for any other run.
    event_streaming: bool | msgspec.UnsetType = msgspec.UNSET


class RunRequest(msgspec.Struct, kw_only=True, frozen=True):
    """A valid request for a run, without the run's ids. `submission` creates a run from it: at once or, for a cron,
    each time it is due. Append only fields with defaults.
    """

    assistant_id: str
    input: Any = None
    command: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}
    config: RunConfig = RunConfig()
    context: dict[str, Any] = {}
    options: RunOptions = RunOptions()
    multitask_strategy: Strategy = Strategy.ENQUEUE
    checkpoint: dict[str, Any] = {}  # to start from, with the names that `configurable` uses
    temporary: bool = False  # its thread is deleted with it
    creates_thread: bool = False  # if the thread does not exist
    after_seconds: float = 0
    event_streaming: bool = False
    # W3C Trace Context of the request, '' for none; a cron keeps that of the request that created or changed it.
    traceparent: str = ""
    tracestate: str = ""
    request_id: str = ""
    user: bytes = (
        b""  # JSON of access.User that it is executed for; a cron keeps that of its creator
    )


class RunSpec(msgspec.Struct, kw_only=True, frozen=True, array_like=True):
    """The part of a run's record that never changes. Only append fields: older records lack them."""

    protocol: int
    run_id: str
    thread_id: str
    assistant_id: str
    graph_id: str
    queue: str
    strategy: str
    temporary: bool
    metadata: bytes  # JSON object
    kwargs: (
        bytes  # JSON of RunKwargs; on the record sealed, with caller_headers (sealing/structs.py)
    )
    # W3C Trace Context of what the run's spans are below; '' for none.
    traceparent: str = ""
    tracestate: str = ""
    request_id: str = ""  # `x-request-id` of the request that created it
    # Headers of the request that `http.configurable_headers` selects, which identify its client. The worker adds them
    # to `configurable`; clients read them nowhere, and no other run inherits them. Requests of the graph to the API
    # get most of them (own_api.forwarded_headers).
    caller_headers: dict[str, str] = {}
    # JSON of access.User, for the worker alone: clients read it nowhere. b"" without authentication.
    user: bytes = b""
    identity: str = ""  # of the user, by which limits and shares count; '' without authentication
    access_secret: str = (
        ""  # of the token with which the run's graph calls the API (runs/access.py)
    )


class Cron(msgspec.Struct, kw_only=True, frozen=True):
    """The part of a cron that searches read; the payload is stored beside it. Only append fields."""

    cron_id: str
    assistant_id: str
    thread_id: str | None  # None: each run gets a thread of its own
    schedule: str
    timezone: str | None  # IANA; None is UTC
    end_time: int | None  # µs
    enabled: bool
    on_run_completed: (
        str | None
    )  # "delete" or "keep" the run's own thread; None if the cron has a thread
    metadata: bytes  # JSON object


class GraphInfo(msgspec.Struct, kw_only=True, frozen=True):
    """What a worker announces about a graph when it starts."""

    graph_id: str
    queue: str  # that gets its runs; stored is the announcing worker's, which older processes read
    description: str | None = None
    announced_at: int = 0  # µs, first announcement
    renewed_at: int = 0  # µs, last announcement; that worker may have other code


class Assistant(msgspec.Struct, kw_only=True, frozen=True):
    """One version of an assistant, without its number and time. Append only fields with defaults."""

    assistant_id: str
    graph_id: str
    name: str
    description: str | None = None
    config: bytes = b"{}"  # JSON object
    context: bytes = b"{}"  # JSON object
    metadata: bytes = b"{}"  # JSON object


class WebhookPolicy(msgspec.Struct, kw_only=True, frozen=True):
    """Which URLs webhooks may have. Source of the names: `webhooks.url` of langgraph.json."""

    require_https: bool = False
    allowed_domains: list[str] = []  # `example.com`, `*.example.com`; empty: any
    allowed_ports: list[int] = []  # empty: any
    max_url_length: int = 65536  # characters
    disable_loopback: bool = True
    networks: list[str] = []  # private networks that are allowed, such as 10.1.0.0/16
    relative: bool = False  # whether a path without a host is allowed


class Project(msgspec.Struct, kw_only=True, frozen=True):
    """What a worker announces about its langgraph.json beside the graphs, for the API."""

    thread_ttl: float | None = None  # minutes, for threads that are created without one
    thread_ttl_strategy: str = "delete"
    webhooks: WebhookPolicy = WebhookPolicy()
    external: bool = (
        False  # an external checkpointer stores the checkpoints: only workers can read them
    )


class SlotRecord(msgspec.Struct, kw_only=True, frozen=True):
    """A run that a worker executes. Append only fields with defaults."""

    thread_id: str
    run_id: str
    graph_id: str
    attempt: int
    since: int  # µs, Redis time of the claim
    isolation: str  # "shared", "process" or "alone" (worker/isolation/level.py)


class WorkerRecord(msgspec.Struct, kw_only=True, frozen=True):
    """What a worker reports about itself. All fields have defaults: a worker of an older version has no record."""

    worker_id: str
    host: str = ""
    pid: int = 0
    version: str = ""  # of Millstream
    python: str = ""
    langgraph: str = ""
    protocol: int = 0  # newest version of records that it understands (PROTOCOL)
    queues: list[str] = []
    graphs: list[str] = []  # ids of the graphs that it serves
    slots: int = 0  # runs that it executes at the same time (N_JOBS_PER_WORKER)
    runs: list[SlotRecord] = []  # that it executes now
    started_at: int = 0  # µs, Redis time, as all times here
    draining_since: int | None = None  # since then it claims no runs
    reported_at: int = 0
    # Fingerprints of its encryption keys (sealing/key_ring.py); the first one seals.
    encryption_keys: list[str] = []


class Call(msgspec.Struct, kw_only=True, frozen=True):
    """A call from the API to a worker."""

    call_id: str
    verb: str  # a name in worker/call_server.py
    graph_id: str
    arguments: dict[str, Any]
    deadline: float  # s, Redis time; workers drop the call after it
    request_id: str = ""  # of the request that it belongs to, for the log
    user: bytes = b""  # JSON of access.User that calls, for the graph's factory
    # The whole call, if it is sealed (sealing/structs.py). Its user and arguments are then left out here.
    sealed: bytes = b""


class Reply(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to a call: `body` is JSON that the API does not decode; or the error that the caller raises."""

    body: bytes = b""
    error: str | None = None
    kind: str | None = None  # a key of calls.KINDS
    sealed: bytes = b""  # the whole reply, if it is sealed; the other fields are then left out


def pack_list(items: Iterable[bytes]) -> bytes:
    """Returns a packed list: the items, each behind its size (4 bytes, big-endian).

    Scripts can read it (scripts/parts/packed_list.lua), unlike bytes in msgpack.
    """
    return b"".join(len(item).to_bytes(4, "big") + item for item in items)


def unpack_list(packed: bytes) -> list[bytes]:
    """Returns the items of a packed list."""
    items, at = [], 0
    while at < len(packed):
        end = at + 4 + int.from_bytes(packed[at : at + 4], "big")
        items.append(packed[at + 4 : end])
        at = end
    return items


_encode = msgspec.msgpack.Encoder().encode
_spec = msgspec.msgpack.Decoder(RunSpec)
_request = msgspec.msgpack.Decoder(RunRequest)
_cron = msgspec.msgpack.Decoder(Cron)
_graph = msgspec.msgpack.Decoder(GraphInfo)
_assistant = msgspec.msgpack.Decoder(Assistant)
_project = msgspec.msgpack.Decoder(Project)
_worker = msgspec.msgpack.Decoder(WorkerRecord)
_call = msgspec.msgpack.Decoder(Call)
_reply = msgspec.msgpack.Decoder(Reply)
_kwargs = msgspec.json.Decoder(RunKwargs)


def to_json(value: Any) -> bytes:
    """Returns the value as JSON; msgspec.Raw parts are copied without decoding.

    Raises InvalidError for a value that is nested too deep, because the decoder accepts deeper values than the encoder.
    """
    try:
        return msgspec.json.encode(value)
    except RecursionError:
        raise InvalidError(TOO_DEEP) from None


def pack(
    struct: RunSpec
    | RunRequest
    | Cron
    | Assistant
    | GraphInfo
    | Project
    | WorkerRecord
    | Call
    | Reply,
) -> bytes:
    """Returns the struct as msgpack."""
    return _encode(struct)


def unpack_spec(data: bytes) -> RunSpec:
    """Returns the spec; raises msgspec.DecodeError for invalid bytes."""
    return _spec.decode(data)


def unpack_request(data: bytes) -> RunRequest:
    """Returns the request; raises msgspec.DecodeError for invalid bytes."""
    return _request.decode(data)


def unpack_cron(data: bytes) -> Cron:
    """Returns the cron; raises msgspec.DecodeError for invalid bytes."""
    return _cron.decode(data)


def unpack_graph(data: bytes) -> GraphInfo:
    """Returns the announcement; raises msgspec.DecodeError for invalid bytes."""
    return _graph.decode(data)


def unpack_assistant(data: bytes) -> Assistant:
    """Returns the version; raises msgspec.DecodeError for invalid bytes."""
    return _assistant.decode(data)


def unpack_project(data: bytes) -> Project:
    """Returns the announcement; raises msgspec.DecodeError for invalid bytes."""
    return _project.decode(data)


def unpack_worker(data: bytes) -> WorkerRecord:
    """Returns the record; raises msgspec.DecodeError for invalid bytes."""
    return _worker.decode(data)


def unpack_call(data: bytes) -> Call:
    """Returns the call; raises msgspec.DecodeError for invalid bytes."""
    return _call.decode(data)


def unpack_reply(data: bytes) -> Reply:
    """Returns the reply; raises msgspec.DecodeError for invalid bytes."""
    return _reply.decode(data)


def unpack_kwargs(data: bytes) -> RunKwargs:
    """Returns the request of a run; raises SealedError, and msgspec.DecodeError for invalid bytes."""
    return _kwargs.decode(require_plain(data))


def require_plain(data: bytes) -> bytes:
    """Returns the data; raises SealedError if they are sealed, because no key of this process has opened them."""
    if data.startswith(SEALED):
        raise SealedError(
            "The data of this run are encrypted, and this process can't read them: LANGGRAPH_AES_KEY is missing or "
            "another key, and LANGGRAPH_AES_FALLBACK_KEYS does not have that key. All APIs and workers need the same "
            "keys."
        )
    return data
