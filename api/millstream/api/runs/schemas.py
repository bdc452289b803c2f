"""Requests for runs, and the Run that the API returns. Source: the LangGraph Platform API."""

import math
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, RootModel, model_validator

from millstream.api.http.schema_base import (
    MAX_OFFSET,
    LastEventId,
    QueryList,
    QueryModel,
    RequestModel,
)
from millstream.api.runs.config_schemas import Config
from millstream.shared.events.modes import MODES
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason, Strategy
from millstream.shared.rules.run_metadata import run_metadata_error
from millstream.shared.wire import RunConfig, RunOptions, RunRequest

if TYPE_CHECKING:
    StreamMode = str  # mypy accepts no computed Literal
else:
    StreamMode = Literal[tuple(MODES)]
MAX_RUNS: Final = 500  # in one batch
MAX_DELAY_SECONDS: Final = 10 * 365 * 86400


def _check_metadata(value: dict[str, Any]) -> dict[str, Any]:
    error = run_metadata_error(value)
    if error:
        raise ValueError(error)
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _uuid(field: str, value: str) -> str:
    """Returns the id in its usual form."""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValueError(f"{field}: {value[:60]!r} is not a UUID") from None


def _without_duplicates(value: list[str]) -> list[str]:
    return list(dict.fromkeys(value))


RunMetadata = Annotated[dict[str, Any], AfterValidator(_check_metadata)]
StreamModes = Annotated[
    list[StreamMode], BeforeValidator(_as_list), AfterValidator(_without_duplicates)
]
MultitaskStrategy = Annotated[Strategy, Field(strict=False)]
Breakpoints = Literal["*"] | list[str]


def _no_graph(value: Any) -> None:
    raise ValueError(
        "a command is for the graph of its run; only nodes can send one to a parent graph"
    )


class SendTo(RequestModel):
    """A node to execute, and its input."""

    node: str
    input: Any = None


class Command(RequestModel):
    """Resumes, updates or redirects a thread in place of an input. An empty command counts as absent."""

    update: dict[str, Any] | list[tuple[str, Any]] | None = None
    resume: Any = None
    goto: str | SendTo | list[str | SendTo] | None = None
    graph: Annotated[None, BeforeValidator(_no_graph)] = Field(
        default=None,
        exclude=True,
        description="Not supported: a command is for the graph of its run.",
    )

    @model_validator(mode="before")
    @classmethod
    def _pairs(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.keys() and not data.keys() & cls.model_fields.keys():
            raise ValueError("at least one of `update`, `resume` and `goto` must be given")
        # JSON has no tuples.
        if isinstance(data, dict) and isinstance(data.get("update"), list):
            pairs = [tuple(p) if isinstance(p, list) else p for p in data["update"]]
            return {**data, "update": pairs}
        return data

    def or_none(self) -> "Command | None":
        """Returns the command, or None if it is empty."""
        return self if self.model_fields_set else None


class Checkpoint(RequestModel):
    """The checkpoint from which the run starts."""

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    checkpoint_map: dict[str, Any] | None = None

    def selects_checkpoint(self) -> bool:
        """Returns whether a field has a value: clients also send a checkpoint whose fields are empty."""
        return any(self.model_dump().values())


class LangsmithTracer(RequestModel):
    """The LangSmith project for the run's trace, if its worker sends traces."""

    project_name: str | None = None
    example_id: Annotated[str, AfterValidator(lambda value: _uuid("example_id", value))] | None = (
        None
    )

    @property
    def is_empty(self) -> bool:
        """Whether the worker's own project is used."""
        return self.project_name is None and self.example_id is None


class OptionFields(RequestModel):
    """The options of a run (`wire.RunOptions`), for runs and crons."""

    webhook: str | None = Field(
        default=None,
        min_length=1,
        max_length=65536,
        description="A URL that is called after the run's end.",
    )
    interrupt_before: Breakpoints | None = None
    interrupt_after: Breakpoints | None = None
    stream_mode: StreamModes = ["values"]
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    feedback_keys: list[str] | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    checkpoint_during: bool | None = Field(
        default=None, description="The older form of `durability`: `false` means `exit`."
    )
    langsmith_tracer: LangsmithTracer | None = None
    strict_resume: bool = Field(
        default=False,
        description="Fails the run, and leaves the thread unchanged, if its resume answers an interrupt "
        "that is not waiting.",
    )


class RunCreate(OptionFields):
    """The fields of a new run, stateful or stateless."""

    assistant_id: str = Field(min_length=1, description="A graph's name, or an assistant's UUID.")
    input: Any = Field(
        default=None,
        description="The graph's input; null continues from the state. Ignored if there is a command.",
    )
    command: Command | None = None
    metadata: RunMetadata = {}
    config: Config = Config()
    context: dict[str, Any] = {}
    stream: bool = False
    multitask_strategy: MultitaskStrategy = Strategy.ENQUEUE
    on_disconnect: Literal["cancel", "continue"] = "cancel"
    after_seconds: int | float = Field(default=0, ge=0, le=MAX_DELAY_SECONDS)

    @classmethod
    def accepted_names(cls, data: dict[str, Any]) -> frozenset[str]:
        """Returns the Agent Protocol's names: `agent_id` and `messages`."""
        is_for_agent = data.get("agent_id") and not data.get("assistant_id")
        return frozenset({"agent_id", "messages"}) if is_for_agent else frozenset()

    @model_validator(mode="before")
    @classmethod
    def _from_agent_protocol(cls, data: Any) -> Any:
        """Converts a run of an agent to one of an assistant. The path names the thread."""
        if not isinstance(data, dict) or not cls.accepted_names(data):
            return data
        if data.get("thread_id"):
            raise ValueError("thread_id: create runs on a thread at /threads/{thread_id}/runs")
        graph_input, messages = data.get("input"), data.get("messages")
        if messages is not None:
            if not isinstance(graph_input, dict | None):
                raise ValueError("messages, input: with messages, the input must be an object")
            graph_input = {**(graph_input or {}), "messages": messages}
        return {**data, "assistant_id": data["agent_id"], "input": graph_input}

    @model_validator(mode="after")
    def _agrees(self) -> "RunCreate":
        if self.command is not None:
            self.command = self.command.or_none()
        if self.command is not None:
            self.input = None  # clients send the whole state with a command
        if not math.isfinite(self.after_seconds):
            raise ValueError("after_seconds: must be a finite number")
        if not self.stream_mode:
            self.stream_mode = ["values"]
        if self.durability is None:
            self.durability = "exit" if self.checkpoint_during is False else "async"
        if self.langsmith_tracer is not None and self.langsmith_tracer.is_empty:
            self.langsmith_tracer = None
        return self

    def request(self) -> RunRequest:
        """Returns the request in the form that the processes share."""
        return RunRequest(
            assistant_id=self.assistant_id,
            input=self.input,
            command=None if self.command is None else self.command.model_dump(exclude_unset=True),
            metadata=self.metadata,
            config=msgspec.convert(self.config, RunConfig, from_attributes=True),
            context=self.context,
            options=msgspec.convert(self, RunOptions, from_attributes=True),
            multitask_strategy=self.multitask_strategy,
            after_seconds=self.after_seconds,
            **self._thread(),
        )

    def _thread(self) -> dict[str, Any]:
        """Returns the fields of the request about the run's thread."""
        raise NotImplementedError


class RunCreateStateful(RunCreate):
    """`POST /threads/{thread_id}/runs…`"""

    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None
    if_not_exists: Literal["create", "reject"] = "reject"

    def _thread(self) -> dict[str, Any]:
        checkpoint = self.checkpoint.model_dump(exclude={"thread_id"}) if self.checkpoint else {}
        checkpoint["checkpoint_id"] = checkpoint.get("checkpoint_id") or self.checkpoint_id
        return {
            "checkpoint": {name: value for name, value in checkpoint.items() if value},
            "creates_thread": self.if_not_exists == "create",
        }


class RunCreateStateless(RunCreate):
    """`POST /runs…`: the run gets a new thread."""

    on_completion: Literal["delete", "keep"] = "delete"
    if_not_exists: Literal["create", "reject"] | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None

    @model_validator(mode="after")
    def _has_no_checkpoint(self) -> "RunCreateStateless":
        selects = self.checkpoint is not None and self.checkpoint.selects_checkpoint()
        for field, value in (("checkpoint", selects), ("checkpoint_id", self.checkpoint_id)):
            if value:
                raise ValueError(f"{field}: a stateless run has a new thread without checkpoints")
        return self

    def _thread(self) -> dict[str, Any]:
        return {"creates_thread": True, "temporary": self.on_completion == "delete"}


class RunBatch(RootModel[list[RunCreateStateless]]):
    """`POST /runs/batch`: background runs, each on a new thread."""

    root: list[RunCreateStateless] = Field(min_length=1, max_length=MAX_RUNS)

    @model_validator(mode="before")
    @classmethod
    def _some(cls, data: Any) -> Any:
        if isinstance(data, list) and not 1 <= len(data) <= MAX_RUNS:
            raise ValueError(f"body: 1 to {MAX_RUNS} runs, not {len(data)}")
        return data

    @model_validator(mode="after")
    def _all_in_the_background(self) -> "RunBatch":
        for number, run in enumerate(self.root):
            if run.stream:
                raise ValueError(f"{number}.stream: runs of a batch can't be streamed")
        return self


class Run(BaseModel):
    """A run, as the API returns it."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: str
    updated_at: str
    status: RunStatus
    metadata: dict[str, Any]
    kwargs: dict[str, Any]
    multitask_strategy: Strategy
    langsmith_session_name: str | None
    cancel_reason: CancelReason | None = Field(description="The reason of the run's cancel.")


class RunList(QueryModel):
    """Query of `GET /threads/{thread_id}/runs`."""

    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)
    status: RunStatus | None = None
    select: Annotated[
        list[
            Literal[
                "run_id", "thread_id", "assistant_id", "created_at", "updated_at", "status",
                "metadata", "kwargs", "multitask_strategy", "langsmith_session_name",
                "cancel_reason",
            ]
        ],
        QueryList,
    ] = []  # fmt: skip


class RunCancel(QueryModel):
    """Query of `POST /threads/{thread_id}/runs/{run_id}/cancel`."""

    wait: bool = False
    action: CancelAction = CancelAction.INTERRUPT


class RunsCancelQuery(QueryModel):
    """Query of `POST /runs/cancel`."""

    action: CancelAction = CancelAction.INTERRUPT


class RunsCancel(RequestModel):
    """`POST /runs/cancel`: runs by their status, or runs of one thread."""

    status: Literal["pending", "running", "all"] | None = None
    thread_id: str | None = None
    run_ids: list[str] | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> "RunsCancel":
        by_id = self.thread_id is not None or self.run_ids is not None
        if by_id == (self.status is not None):
            raise ValueError("give either `status`, or `thread_id` and `run_ids`")
        if by_id and (self.thread_id is None or not self.run_ids):
            raise ValueError("`thread_id` and `run_ids` must be given together")
        if self.thread_id is not None and self.run_ids is not None:
            self.thread_id = _uuid("thread_id", self.thread_id)
            self.run_ids = [_uuid("run_ids", run_id) for run_id in self.run_ids]
        return self


class RunJoin(QueryModel):
    """Query of `GET …/join`."""

    cancel_on_disconnect: bool = False


class RunJoinStream(RunJoin):
    """Query of `GET …/stream`."""

    stream_mode: Annotated[list[StreamMode], QueryList] = []
    last_event_id: LastEventId = ""
