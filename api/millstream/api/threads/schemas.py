"""Threads. Source: the LangGraph Platform API."""

import uuid
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from millstream.api.http.schema_base import FARTHEST, LastEventId, Listed, QueryModel, RequestModel
from millstream.api.runs.schemas import Command
from millstream.api.threads.json_paths import parse_path
from millstream.shared.metadata_index import MAX_DEPTH, depth
from millstream.shared.rules.lifecycle import ThreadStatus

LONGEST_TTL: Final = 100 * 365 * 24 * 60  # minutes
SHORTEST_TTL: Final = 0.001  # minutes
MOST_UPDATES: Final = 1000  # in all supersteps of one request
MOST_PRUNED: Final = 1000  # threads of one request
MOST_IDS: Final = 1000  # of one search
MOST_EXCLUDED: Final = 20  # objects of one search
MOST_PATHS: Final = 10  # that one search extracts


def _uuid(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValueError("Invalid thread ID: must be a UUID") from None


def _minutes_alone(value: Any) -> Any:
    """A bare number is the minutes after which the thread is deleted."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"ttl": value}
    return value


ThreadId = Annotated[str, AfterValidator(_uuid)]


class ThreadTtl(RequestModel):
    """How long a thread lives after its last use."""

    strategy: Literal["delete", "keep_latest"] = "delete"
    ttl: int | float = Field(
        ge=SHORTEST_TTL, le=LONGEST_TTL, description="Minutes after the last use of the thread."
    )


class SuperstepUpdate(RequestModel):
    """What a node would have written."""

    values: dict[str, Any] | list[Any] | None = None
    command: Command | None = None
    as_node: str | None = None

    @model_validator(mode="after")
    def _agrees(self) -> "SuperstepUpdate":
        if self.command is not None:
            self.command = self.command.or_none()
        if self.command is not None:
            self.values = None  # as with a run's input
        return self


class Superstep(RequestModel):
    """Updates that are applied together."""

    updates: list[SuperstepUpdate] = Field(min_length=1)


class ThreadCreate(RequestModel):
    """`POST /threads`"""

    thread_id: ThreadId | None = None
    metadata: dict[str, Any] = {}
    graph_id: str | None = Field(
        default=None, min_length=1, description="The same as `metadata.graph_id`."
    )
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: Annotated[ThreadTtl, BeforeValidator(_minutes_alone)] | None = None
    supersteps: list[Superstep] = Field(
        default=[], description="The thread's first states; they need the name of its graph."
    )

    @model_validator(mode="after")
    def _agrees(self) -> "ThreadCreate":
        named = self.metadata.get("graph_id")
        if self.graph_id is not None:
            if named not in (None, self.graph_id):
                raise ValueError("graph_id, metadata.graph_id: they name two different graphs")
            self.metadata = {**self.metadata, "graph_id": self.graph_id}
        elif self.supersteps and not isinstance(named, str):
            raise ValueError("supersteps: metadata.graph_id must name the graph that they are for")
        updates = sum(len(step.updates) for step in self.supersteps)
        if updates > MOST_UPDATES:
            raise ValueError(f"supersteps: at most {MOST_UPDATES} updates are taken, not {updates}")
        return self


class ThreadQuery(QueryModel):
    """Query of `GET /threads/{thread_id}`."""

    include: Annotated[list[Literal["ttl"]], Listed] = []


ThreadStreamModes = Annotated[list[Literal["run_modes", "lifecycle", "state_update"]], Listed]


class ThreadStreamQuery(QueryModel):
    """Query of `GET /threads/{thread_id}/stream`."""

    stream_mode: ThreadStreamModes = Field(
        default=[],
        description="All that runs tell (default); when they begin and end; states written from outside.",
    )
    stream_modes: ThreadStreamModes = Field(default=[], description="The same as `stream_mode`.")
    last_event_id: LastEventId = ""

    @property
    def modes(self) -> list[str]:
        """What is asked for under either name."""
        return list(dict.fromkeys([*self.stream_mode, *self.stream_modes])) or ["run_modes"]


def _not_too_deep(value: dict[str, Any]) -> dict[str, Any]:
    if depth(value) > MAX_DEPTH:
        raise ValueError(f"a filter may be nested {MAX_DEPTH} levels deep at most")
    return value


def _some(value: dict[str, Any]) -> dict[str, Any]:
    if not value:  # every thread contains it
        raise ValueError("an object that excludes threads must name something")
    return value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Filter = Annotated[dict[str, Any], AfterValidator(_not_too_deep)]
Exclusions = Annotated[
    list[Annotated[Filter, AfterValidator(_some)]],
    Field(min_length=1, max_length=MOST_EXCLUDED),
    BeforeValidator(_one_or_more, json_schema_input_type=dict[str, Any] | list[dict[str, Any]]),
]
ThreadField = Literal[
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "status",
    "values", "interrupts", "error",
]  # fmt: skip


class ThreadFilter(RequestModel):
    """`POST /threads/count`: threads that fit all of it."""

    metadata: Filter = Field(default={}, description="What the thread's metadata contains.")
    exclude_metadata: Exclusions | None = Field(
        default=None,
        description="An object, or several: threads whose metadata contains one of them are left out.",
    )
    values: Filter = Field(default={}, description="What the thread's values contain.")
    status: Annotated[ThreadStatus, Field(strict=False)] | None = None


class ThreadSearch(ThreadFilter):
    """`POST /threads/search`"""

    ids: list[ThreadId] | None = Field(default=None, max_length=MOST_IDS)
    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=FARTHEST)
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] = (
        "created_at"
    )
    sort_order: Literal["asc", "desc"] = "desc"
    select: list[ThreadField] = []
    extract: dict[str, str] = Field(
        default={},
        max_length=MOST_PATHS,
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

    metadata: dict[str, Any] = Field(default={}, description="Merged into the thread's.")
    ttl: Annotated[ThreadTtl, BeforeValidator(_minutes_alone)] | None = None


class ThreadsPrune(RequestModel):
    """`POST /threads/prune`"""

    thread_ids: list[ThreadId] = Field(max_length=MOST_PRUNED)
    strategy: Literal["delete", "keep_latest"] = "delete"


class ThreadsPruned(BaseModel):
    """How many of the threads were there, and are pruned now."""

    pruned_count: int


class Amount(BaseModel):
    """How many there are, and the bytes that they take."""

    count: int
    bytes: int


class ChannelAmount(BaseModel):
    """The stored versions of a channel's value."""

    versions: int
    bytes: int


class ChannelAmounts(Amount):
    """The stored values of all channels."""

    by_channel: dict[str, ChannelAmount]


class ThreadStorage(BaseModel):
    """What a thread's checkpoints take, as they are stored."""

    thread_id: str
    total_bytes: int
    checkpoints: Amount
    channel_values: ChannelAmounts
    pending_writes: Amount


class Thread(BaseModel):
    """A thread as the API shows it."""

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: dict[str, Any]
    status: ThreadStatus
    config: dict[str, Any]
    values: dict[str, Any] | None
    interrupts: dict[str, list[Any]]
    error: dict[str, str] | None
    ttl: dict[str, Any] | None = Field(default=None, description="With `include=ttl`.")
    extracted: dict[str, Any] | None = Field(default=None, description="With `extract`.")
