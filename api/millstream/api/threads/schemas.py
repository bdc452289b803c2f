"""Requests for threads, and the Thread that the API returns. Source: the LangGraph Platform API."""

import uuid
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from millstream.api.http.schema_base import (
    LastEventId,
    Limit,
    Offset,
    QueryList,
    QueryModel,
    RequestModel,
    SortOrder,
)
from millstream.api.runs.option_schemas import Command
from millstream.api.threads.json_paths import parse_path
from millstream.shared.metadata_index import MAX_DEPTH, depth
from millstream.shared.rules.lifecycle import ThreadStatus

MAX_TTL_MINUTES: Final = 100 * 365 * 24 * 60  # minutes
MIN_TTL_MINUTES: Final = 0.001  # minutes
MAX_UPDATES: Final = 1000  # in all supersteps of one request
MAX_PRUNED: Final = 1000  # threads of one request
MAX_IDS: Final = 1000  # of one search
MAX_FILTER_BYTES: Final = 64 * 1024  # of JSON
MAX_EXCLUDED: Final = 20  # objects of one search
MAX_PATHS: Final = 10  # that one search extracts


def _uuid(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValueError("Invalid thread ID: must be a UUID") from None


def _ttl_of_minutes(value: Any) -> Any:
    """Reads a bare number as the minutes after which the thread is deleted."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"ttl": value}
    return value


ThreadId = Annotated[str, AfterValidator(_uuid)]


class ThreadTtl(RequestModel):
    """The lifetime of a thread after its last use."""

    strategy: Literal["delete", "keep_latest"] = Field(
        default="delete", description="Deletes the thread, or all its checkpoints but the newest."
    )
    ttl: int | float = Field(
        ge=MIN_TTL_MINUTES,
        le=MAX_TTL_MINUTES,
        description="Minutes after the last use of the thread.",
    )


LifetimeOrMinutes = Annotated[
    ThreadTtl, BeforeValidator(_ttl_of_minutes, json_schema_input_type=ThreadTtl | float)
]


class SuperstepUpdate(RequestModel):
    """One update of the state, as if a node had written it."""

    values: dict[str, Any] | list[Any] | None = Field(
        default=None, description="The values that the node writes."
    )
    command: Command | None = Field(default=None, description="A command in place of the values.")
    as_node: str | None = Field(default=None, description="The node that writes the update.")

    @model_validator(mode="after")
    def _agrees(self) -> "SuperstepUpdate":
        if self.command is not None:
            self.command = self.command.or_none()
        if self.command is not None:
            self.values = None  # as with a run's input
        return self


class Superstep(RequestModel):
    """The updates of one step, applied together."""

    updates: list[SuperstepUpdate] = Field(min_length=1, description="The updates.")


class ThreadCreate(RequestModel):
    """`POST /threads`"""

    thread_id: ThreadId | None = Field(
        default=None, description="The thread's id. Default: a new one."
    )
    metadata: dict[str, Any] = Field(
        default={}, description="Any object, by whose entries threads are found."
    )
    graph_id: str | None = Field(
        default=None, min_length=1, description="The same as `metadata.graph_id`."
    )
    if_exists: Literal["raise", "do_nothing"] = Field(
        default="raise",
        description="Whether an existing thread is an error (409), or the response.",
    )
    ttl: LifetimeOrMinutes | None = Field(
        default=None,
        description="The thread's lifetime: minutes, or an object. Default: that of `checkpointer.ttl`.",
    )
    supersteps: list[Superstep] = Field(
        default=[], description="The thread's first states; they need the name of its graph."
    )

    @model_validator(mode="after")
    def _agrees(self) -> "ThreadCreate":
        graph_id = self.metadata.get("graph_id")
        if self.graph_id is not None:
            if graph_id not in (None, self.graph_id):
                raise ValueError("graph_id, metadata.graph_id: the two names differ")
            self.metadata = {**self.metadata, "graph_id": self.graph_id}
        elif self.supersteps and not isinstance(graph_id, str):
            raise ValueError("supersteps: metadata.graph_id must name their graph")
        updates = sum(len(step.updates) for step in self.supersteps)
        if updates > MAX_UPDATES:
            raise ValueError(f"supersteps: at most {MAX_UPDATES} updates, not {updates}")
        return self


class ThreadQuery(QueryModel):
    """Query of `GET /threads/{thread_id}`."""

    include: Annotated[list[Literal["ttl"]], QueryList] = Field(
        default=[], description="`ttl`: the response has the lifetime too."
    )


ThreadStreamModes = Annotated[list[Literal["run_modes", "lifecycle", "state_update"]], QueryList]


class ThreadStreamQuery(QueryModel):
    """Query of `GET /threads/{thread_id}/stream`."""

    stream_mode: ThreadStreamModes = Field(
        default=[],
        description="`run_modes`: all events of runs (default). `lifecycle`: their begin and end. "
        "`state_update`: updates of the state outside of runs.",
    )
    stream_modes: ThreadStreamModes = Field(default=[], description="The same as `stream_mode`.")
    last_event_id: LastEventId = ""

    @property
    def modes(self) -> list[str]:
        """The modes of both parameters."""
        return list(dict.fromkeys([*self.stream_mode, *self.stream_modes])) or ["run_modes"]


def _not_too_deep(value: dict[str, Any]) -> dict[str, Any]:
    if depth(value) > MAX_DEPTH:
        raise ValueError(f"a filter must not be nested deeper than {MAX_DEPTH} levels")
    if len(msgspec.json.encode(value)) > MAX_FILTER_BYTES:  # it is compared with each record
        raise ValueError(f"a filter must not be larger than {MAX_FILTER_BYTES} bytes")
    return value


def _some(value: dict[str, Any]) -> dict[str, Any]:
    if not value:  # every thread contains the empty object
        raise ValueError("an object that excludes threads must not be empty")
    return value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Filter = Annotated[dict[str, Any], AfterValidator(_not_too_deep)]
Exclusions = Annotated[
    list[Annotated[Filter, AfterValidator(_some)]],
    Field(min_length=1, max_length=MAX_EXCLUDED),
    BeforeValidator(_one_or_more, json_schema_input_type=dict[str, Any] | list[dict[str, Any]]),
]
ThreadField = Literal[
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "status",
    "values", "interrupts", "error",
]  # fmt: skip


class ThreadFilter(RequestModel):
    """`POST /threads/count`: threads that match all fields."""

    metadata: Filter = Field(default={}, description="Entries that the thread's metadata contains.")
    exclude_metadata: Exclusions | None = Field(
        default=None,
        description="An object, or a list of objects. Excludes threads whose metadata contains one of them.",
    )
    values: Filter = Field(default={}, description="Entries that the thread's values contain.")
    status: Annotated[ThreadStatus, Field(strict=False)] | None = Field(
        default=None, description="The thread's status."
    )


class ThreadSearch(ThreadFilter):
    """`POST /threads/search`"""

    ids: list[ThreadId] | None = Field(
        default=None, max_length=MAX_IDS, description="The threads' ids."
    )
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] = Field(
        default="created_at", description="The field by which the list is sorted."
    )
    sort_order: SortOrder = "desc"
    select: list[ThreadField] = Field(default=[], description="The fields to return. Default: all.")
    extract: dict[str, str] = Field(
        default={},
        max_length=MAX_PATHS,
        description="Name → path into the thread, such as `values.messages[-1].content`.",
    )

    @field_validator("extract")
    @classmethod
    def _are_paths(cls, value: dict[str, str]) -> dict[str, str]:
        for path in value.values():
            parse_path(path)
        return value


class ThreadPatch(RequestModel):
    """`PATCH /threads/{thread_id}`"""

    metadata: dict[str, Any] = Field(default={}, description="Merged into the thread's metadata.")
    ttl: LifetimeOrMinutes | None = Field(
        default=None, description="The new lifetime: minutes, or an object."
    )


class ThreadsPrune(RequestModel):
    """`POST /threads/prune`"""

    thread_ids: list[ThreadId] = Field(
        max_length=MAX_PRUNED, description="The threads. Unknown ids are skipped."
    )
    strategy: Literal["delete", "keep_latest"] = Field(
        default="delete",
        description="Deletes the threads, or all their checkpoints but the newest.",
    )


class ThreadsPruned(BaseModel):
    """The number of threads that were pruned."""

    pruned_count: int = Field(description="The number of threads.")


class Amount(BaseModel):
    """A number of stored objects, and their bytes."""

    count: int = Field(description="The number of objects.")
    bytes: int = Field(description="Their bytes.")


class ChannelAmount(BaseModel):
    """The stored versions of a channel's value."""

    versions: int = Field(description="The number of versions.")
    bytes: int = Field(description="Their bytes.")


class ChannelAmounts(Amount):
    """The stored values of all channels."""

    by_channel: dict[str, ChannelAmount] = Field(description="The versions of each channel.")


class ThreadStorage(BaseModel):
    """The stored size of a thread's checkpoints."""

    thread_id: str = Field(description="The thread's id.")
    total_bytes: int = Field(description="All bytes.")
    checkpoints: Amount = Field(description="The checkpoints, without values.")
    channel_values: ChannelAmounts = Field(description="The values of channels.")
    pending_writes: Amount = Field(description="Writes of tasks whose step has not ended.")


class Thread(BaseModel):
    """A thread, as the API returns it."""

    thread_id: str = Field(description="The thread's id.")
    created_at: str = Field(description="The time of its creation, in ISO 8601.")
    updated_at: str = Field(description="The time of its last change.")
    state_updated_at: str = Field(description="The time of the last change of its state.")
    metadata: dict[str, Any] = Field(
        description="Its metadata, with `graph_id` and `assistant_id` of its newest run."
    )
    status: ThreadStatus = Field(
        description="`busy` while a run is active; `interrupted` if nodes are left to run."
    )
    config: dict[str, Any] = Field(
        description="The config of its newest run: `configurable` alone."
    )
    values: dict[str, Any] | None = Field(description="The values of its newest state.")
    interrupts: dict[str, list[Any]] = Field(
        description="The interrupts that wait for an answer, by task."
    )
    error: dict[str, str] | None = Field(
        description="The error of its newest run: `error` and `message`."
    )
    ttl: dict[str, Any] | None = Field(default=None, description="With `include=ttl`.")
    extracted: dict[str, Any] | None = Field(default=None, description="With `extract`.")
