"""The structs that cross Redis, in msgpack; JSON inside them stays bytes, read where it is used."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from millstream.shared.errors import InvalidError
from millstream.shared.rules.multitask import Strategy

TOO_DEEP: Final = "Invalid JSON in request body: nested too deep"
PROTOCOL: Final = 1  # raised when an older worker could not execute a newer API's run


class LangsmithTracer(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Where LangSmith keeps the trace of a run."""

    project_name: str | None = None
    example_id: str | None = None  # a UUID


class RunOptions(msgspec.Struct, kw_only=True, frozen=True):
    """The options of a run: its worker acts on them, and nothing between the request and the worker has to know them.

    Each is declared here once, for requests, records of runs, crons, and runs that answer an interrupt. An attribute
    is called as in a request; `name` is what the `kwargs` of a Run call it, where that differs.
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
    """What a request says of the config of its run; None leaves an entry to the assistant."""

    configurable: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    tags: list[str] | None = None
    recursion_limit: int | None = None
    max_concurrency: int | None = None
    run_name: str | None = None


# The entries of a config that are not merged: the run's own value, or else its assistant's.
UNMERGED: Final = tuple(
    name for name in RunConfig.__struct_fields__ if name not in ("configurable", "metadata")
)


class RunKwargs(RunOptions, kw_only=True, frozen=True):
    """What a worker executes, as JSON, and what a Run shows as `kwargs`: the options, and what admission made of the
    rest of the request. Source of the names: the LangGraph Platform API.
    """

    input: Any = None
    command: dict[str, Any] | None = None
    config: dict[str, Any] = {}
    context: dict[str, Any] = {}
    temporary: bool = False
    checkpoint_during: bool = True
    # It stores the events of the event streaming protocol; shown of such a run alone.
    event_streaming: bool | msgspec.UnsetType = msgspec.UNSET
    # Entries of `configurable` that are headers of the request: they go along when the graph calls the API.
    caller_headers: list[str] | msgspec.UnsetType = msgspec.UNSET


class RunRequest(msgspec.Struct, kw_only=True, frozen=True):
    """A client's valid request for a run that has no ids yet. `submission` makes a run of it, at once or, for a cron,
    each time it is due. Append fields with defaults only.
    """

    assistant_id: str
    input: Any = None
    command: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}
    config: RunConfig = RunConfig()
    context: dict[str, Any] = {}
    options: RunOptions = RunOptions()
    multitask_strategy: Strategy = Strategy.ENQUEUE
    checkpoint: dict[str, Any] = {}  # to start from, as `configurable` names it
    temporary: bool = False  # its thread is deleted with it
    creates_thread: bool = False  # if there is none of the id
    after_seconds: float = 0
    event_streaming: bool = False


class RunSpec(msgspec.Struct, kw_only=True, frozen=True, array_like=True):
    """What admission fixes of a run, once. Append fields only: older entries lack them."""

    protocol: int
    run_id: str
    thread_id: str
    assistant_id: str
    graph_id: str
    queue: str
    strategy: str
    temporary: bool
    metadata: bytes  # JSON object
    kwargs: bytes  # JSON of RunKwargs


class Cron(msgspec.Struct, kw_only=True, frozen=True):
    """What a search for crons looks at; the payload is kept beside it. Append fields only."""

    cron_id: str
    assistant_id: str
    thread_id: str | None  # None: each run gets a thread of its own
    schedule: str
    timezone: str | None  # IANA; None is UTC
    end_time: int | None  # µs
    enabled: bool
    on_run_completed: str | None  # "delete" or "keep" that thread; None on a thread that stays
    metadata: bytes  # JSON object


class GraphInfo(msgspec.Struct, kw_only=True, frozen=True):
    """What a worker announces of a graph when it starts."""

    graph_id: str
    queue: str
    description: str | None = None
    announced_at: int = 0  # µs, for the first time
    renewed_at: int = 0  # µs, for the last time: by a worker that may have other code


class Assistant(msgspec.Struct, kw_only=True, frozen=True):
    """One version of an assistant, without its number and its time. Append fields with defaults only."""

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
    allowed_domains: list[str] = []  # `example.com`, `*.example.com`; none: any
    allowed_ports: list[int] = []  # none: any
    max_url_length: int = 65536  # characters
    disable_loopback: bool = True
    networks: list[str] = []  # private ones that may be called all the same, as 10.1.0.0/16
    relative: bool = False  # whether a path alone may be given


class Project(msgspec.Struct, kw_only=True, frozen=True):
    """What a worker announces of its langgraph.json beside the graphs, for the API to act on."""

    thread_ttl: float | None = None  # minutes, of threads that are created without one
    thread_ttl_strategy: str = "delete"
    webhooks: WebhookPolicy = WebhookPolicy()
    external: bool = False  # checkpoints are kept where only its workers reach them


class Call(msgspec.Struct, kw_only=True, frozen=True):
    """A question that needs a graph."""

    call_id: str
    verb: str  # a name in worker/call_server.py
    graph_id: str
    arguments: dict[str, Any]
    deadline: float  # s, Redis time; a worker drops the question after it


class Reply(msgspec.Struct, kw_only=True, frozen=True):
    """Its answer: `body` is JSON, forwarded unread; or the error that the caller gets."""

    body: bytes = b""
    error: str | None = None
    kind: str | None = None  # "not_found", "invalid", "unavailable" or "failed"


def pack_list(words: Iterable[bytes]) -> bytes:
    """Returns the words one after the other, each behind its size (4 bytes, big-endian).

    Scripts read it with `struct`: Redis' msgpack knows no bytes.
    """
    return b"".join(len(word).to_bytes(4, "big") + word for word in words)


def unpack_list(framed: bytes) -> list[bytes]:
    """Returns the words of `pack_list`."""
    words, at = [], 0
    while at < len(framed):
        end = at + 4 + int.from_bytes(framed[at : at + 4], "big")
        words.append(framed[at + 4 : end])
        at = end
    return words


_encode = msgspec.msgpack.Encoder().encode
_spec = msgspec.msgpack.Decoder(RunSpec)
_request = msgspec.msgpack.Decoder(RunRequest)
_cron = msgspec.msgpack.Decoder(Cron)
_graph = msgspec.msgpack.Decoder(GraphInfo)
_assistant = msgspec.msgpack.Decoder(Assistant)
_project = msgspec.msgpack.Decoder(Project)
_call = msgspec.msgpack.Decoder(Call)
_reply = msgspec.msgpack.Decoder(Reply)
_kwargs = msgspec.json.Decoder(RunKwargs)


def to_json(value: Any) -> bytes:
    """Returns the value as JSON; msgspec.Raw parts go through unread.

    Raises InvalidError for a value nested too deep: what was just read may be too deep to write.
    """
    try:
        return msgspec.json.encode(value)
    except RecursionError:
        raise InvalidError(TOO_DEEP) from None


def pack(
    struct: RunSpec | RunRequest | Cron | Assistant | GraphInfo | Project | Call | Reply,
) -> bytes:
    """Returns the struct as msgpack."""
    return _encode(struct)


def unpack_spec(data: bytes) -> RunSpec:
    """Returns the spec; raises msgspec.DecodeError for bytes that are none."""
    return _spec.decode(data)


def unpack_request(data: bytes) -> RunRequest:
    """Returns the request; raises msgspec.DecodeError for bytes that are none."""
    return _request.decode(data)


def unpack_cron(data: bytes) -> Cron:
    """Returns the cron; raises msgspec.DecodeError for bytes that are none."""
    return _cron.decode(data)


def unpack_graph(data: bytes) -> GraphInfo:
    """Returns the announcement; raises msgspec.DecodeError for bytes that are none."""
    return _graph.decode(data)


def unpack_assistant(data: bytes) -> Assistant:
    """Returns the version; raises msgspec.DecodeError for bytes that are none."""
    return _assistant.decode(data)


def unpack_project(data: bytes) -> Project:
    """Returns the announcement; raises msgspec.DecodeError for bytes that are none."""
    return _project.decode(data)


def unpack_call(data: bytes) -> Call:
    """Returns the call; raises msgspec.DecodeError for bytes that are none."""
    return _call.decode(data)


def unpack_reply(data: bytes) -> Reply:
    """Returns the reply; raises msgspec.DecodeError for bytes that are none."""
    return _reply.decode(data)


def unpack_kwargs(data: bytes) -> RunKwargs:
    """Returns the request of a run; raises msgspec.DecodeError for bytes that are none."""
    return _kwargs.decode(data)
