"""The structs that cross Redis, in msgpack; JSON inside them stays bytes, read where it is used."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from millstream.shared.errors import InvalidError

TOO_DEEP: Final = "Invalid JSON in request body: nested too deep"
# The entries of a run's config that stand for themselves: the run's own, or else its assistant's.
PLAIN: Final = ("tags", "recursion_limit", "max_concurrency", "run_name")
PROTOCOL: Final = 1  # raised when an older worker could not execute a newer API's run


class RunKwargs(msgspec.Struct, kw_only=True, omit_defaults=False):
    """What the client asked for: JSON, shown as `kwargs` of a Run and executed by the worker.

    Field names are the reference server's.
    """

    input: Any = None
    command: dict[str, Any] | None = None
    config: dict[str, Any] = {}
    context: dict[str, Any] = {}
    stream_mode: list[str] = msgspec.field(default_factory=lambda: ["values"])
    interrupt_before: list[str] | str | None = None
    interrupt_after: list[str] | str | None = None
    webhook: str | None = None
    feedback_keys: list[str] | None = None
    temporary: bool = False
    subgraphs: bool = False
    resumable: bool = False
    checkpoint_during: bool = True
    durability: str = "async"
    strict_resume: bool = False
    langsmith_tracer: dict[str, Any] | None = None
    # It stores the events of the event streaming protocol; of no other run it is shown.
    event_streaming: bool | msgspec.UnsetType = msgspec.UNSET
    # Entries of `configurable` that are headers of the request: they go along when the graph asks the API.
    caller_headers: list[str] | msgspec.UnsetType = msgspec.UNSET


class RunRequest(msgspec.Struct, kw_only=True, frozen=True):
    """A client's valid request for a run, before the run has ids: what `submission` makes one of,
    at once or, for a cron, each time it is due. Append fields with defaults only.

    Field names are those of the request; `configurable`, `tags`, … are parts of its `config`.
    """

    assistant_id: str
    input: Any = None
    command: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}
    configurable: dict[str, Any] = {}
    config_metadata: dict[str, Any] = {}
    tags: list[str] | None = None
    recursion_limit: int | None = None
    context: dict[str, Any] = {}
    stream_mode: list[str] = msgspec.field(default_factory=lambda: ["values"])
    interrupt_before: list[str] | str | None = None
    interrupt_after: list[str] | str | None = None
    feedback_keys: list[str] | None = None
    webhook: str | None = None
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    durability: str = "async"
    strict_resume: bool = False
    multitask_strategy: str = "enqueue"
    place: dict[str, Any] = {}  # the checkpoint to start from, as `configurable` names it
    temporary: bool = False  # its thread goes with it
    creates_thread: bool = False  # if there is none of the id
    after_seconds: float = 0
    langsmith_tracer: dict[str, Any] | None = None
    max_concurrency: int | None = None
    run_name: str | None = None
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
