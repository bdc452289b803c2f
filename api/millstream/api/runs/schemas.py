"""Requests for runs, and the Run that answers them. Source: the LangGraph Platform API."""

import math
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, RootModel, model_validator

from millstream.api.http.schema_base import FARTHEST, LastEventId, Listed, QueryModel, RequestModel
from millstream.api.runs.config_schemas import Config
from millstream.shared.events.modes import MODES
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason, Strategy
from millstream.shared.rules.run_metadata import run_metadata_error
from millstream.shared.wire import RunConfig, RunOptions, RunRequest

if TYPE_CHECKING:
    StreamMode = str  # mypy takes no computed Literal
else:
    StreamMode = Literal[tuple(MODES)]
MOST_RUNS: Final = 500  # of one batch
LONGEST_DELAY: Final = 10 * 365 * 86400  # s


def _check_metadata(value: dict[str, Any]) -> dict[str, Any]:
    wrong = run_metadata_error(value)
    if wrong:
        raise ValueError(wrong)
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
    """A node to run with an input of its own."""

    node: str
    input: Any = None


class Command(RequestModel):
    """What to do on a thread instead of giving it an input. One that says nothing counts as not given."""

    update: dict[str, Any] | list[tuple[str, Any]] | None = None
    resume: Any = None
    goto: str | SendTo | list[str | SendTo] | None = None
    graph: Annotated[None, BeforeValidator(_no_graph)] = Field(
        default=None, exclude=True, description="Refused: a command is for the graph of its run."
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
        """Returns the command, None if it says nothing."""
        return self if self.model_fields_set else None


class Checkpoint(RequestModel):
    """Where on the thread to start from."""

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    checkpoint_map: dict[str, Any] | None = None

    def names_a_place(self) -> bool:
        """Returns whether it names anything: clients send it with empty fields too."""
        return any(self.model_dump().values())


class LangsmithTracer(RequestModel):
    """Where LangSmith keeps the trace, for workers that send traces there."""

    project_name: str | None = None
    example_id: Annotated[str, AfterValidator(lambda value: _uuid("example_id", value))] | None = (
        None
    )

    @property
    def is_empty(self) -> bool:
        """Whether it leaves all to the worker."""
        return self.project_name is None and self.example_id is None


class OptionFields(RequestModel):
    """What is valid of the options of a run (`wire.RunOptions`), for runs and crons."""

    webhook: str | None = Field(
        default=None, min_length=1, max_length=65536, description="Called once the run has ended."
    )
    interrupt_before: Breakpoints | None = None
    interrupt_after: Breakpoints | None = None
    stream_mode: StreamModes = ["values"]
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    feedback_keys: list[str] | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    checkpoint_during: bool | None = Field(
        default=None, description="The older form of `durability`: `false` is `exit`."
    )
    langsmith_tracer: LangsmithTracer | None = None
    strict_resume: bool = Field(
        default=False,
        description="A resume that answers an interrupt which is not waiting fails the run, and "
        "leaves the thread as it was.",
    )


class RunCreate(OptionFields):
    """What stateful and stateless runs have in common."""

    assistant_id: str = Field(min_length=1, description="A graph's name, or an assistant's UUID.")
    input: Any = Field(
        default=None,
        description="The graph's input; null goes on from the state. Beside a command it is ignored.",
    )
    command: Command | None = None
    metadata: RunMetadata = {}
    config: Config = Config()
    context: dict[str, Any] = {}
    stream: bool = False
    multitask_strategy: MultitaskStrategy = Strategy.ENQUEUE
    on_disconnect: Literal["cancel", "continue"] = "cancel"
    after_seconds: int | float = Field(default=0, ge=0, le=LONGEST_DELAY)

    @classmethod
    def taken(cls, data: dict[str, Any]) -> frozenset[str]:
        """The Agent Protocol says `agent_id`, and has the messages beside the input."""
        of_an_agent = data.get("agent_id") and not data.get("assistant_id")
        return frozenset({"agent_id", "messages"}) if of_an_agent else frozenset()

    @model_validator(mode="before")
    @classmethod
    def _of_an_agent(cls, data: Any) -> Any:
        """Returns a run of an agent as one of an assistant; the thread is in the path."""
        if not isinstance(data, dict) or not cls.taken(data):
            return data
        if data.get("thread_id"):
            raise ValueError("thread_id: runs on a thread are made at /threads/{thread_id}/runs")
        given, messages = data.get("input"), data.get("messages")
        if messages is not None:
            if not isinstance(given, dict | None):
                raise ValueError("messages, input: an input beside messages must be an object")
            given = {**(given or {}), "messages": messages}
        return {**data, "assistant_id": data["agent_id"], "input": given}

    @model_validator(mode="after")
    def _agrees(self) -> "RunCreate":
        if self.command is not None:
            self.command = self.command.or_none()
        if self.command is not None:
            self.input = None  # clients send the whole state beside it
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
        """Returns the request as all processes know it."""
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
        """Returns what the request says of the run's thread."""
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
    """`POST /runs…`: the run gets a thread of its own."""

    on_completion: Literal["delete", "keep"] = "delete"
    if_not_exists: Literal["create", "reject"] | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None

    @model_validator(mode="after")
    def _has_no_past(self) -> "RunCreateStateless":
        place = self.checkpoint is not None and self.checkpoint.names_a_place()
        for field, given in (("checkpoint", place), ("checkpoint_id", self.checkpoint_id)):
            if given:
                raise ValueError(f"{field}: a stateless run has no thread to start from")
        return self

    def _thread(self) -> dict[str, Any]:
        return {"creates_thread": True, "temporary": self.on_completion == "delete"}


class RunBatch(RootModel[list[RunCreateStateless]]):
    """`POST /runs/batch`: background runs, each on a thread of its own."""

    root: list[RunCreateStateless] = Field(min_length=1, max_length=MOST_RUNS)

    @model_validator(mode="before")
    @classmethod
    def _some(cls, data: Any) -> Any:
        if isinstance(data, list) and not 1 <= len(data) <= MOST_RUNS:
            raise ValueError(f"body: 1 to {MOST_RUNS} runs make a batch, not {len(data)}")
        return data

    @model_validator(mode="after")
    def _all_in_the_background(self) -> "RunBatch":
        for number, run in enumerate(self.root):
            if run.stream:
                raise ValueError(f"{number}.stream: the runs of a batch have no stream")
        return self


class Run(BaseModel):
    """A run as the API shows it."""

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
    cancel_reason: CancelReason | None = Field(
        description="Why the run was cancelled, or is being cancelled."
    )


class RunList(QueryModel):
    """Query of `GET /threads/{thread_id}/runs`."""

    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=FARTHEST)
    status: RunStatus | None = None
    select: Annotated[
        list[
            Literal[
                "run_id", "thread_id", "assistant_id", "created_at", "updated_at", "status",
                "metadata", "kwargs", "multitask_strategy", "langsmith_session_name",
                "cancel_reason",
            ]
        ],
        Listed,
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
        named = self.thread_id is not None or self.run_ids is not None
        if named == (self.status is not None):
            raise ValueError("give either `status`, or `thread_id` and `run_ids`")
        if named and (self.thread_id is None or not self.run_ids):
            raise ValueError("`thread_id` and `run_ids` go together")
        if self.thread_id is not None and self.run_ids is not None:
            self.thread_id = _uuid("thread_id", self.thread_id)
            self.run_ids = [_uuid("run_ids", run_id) for run_id in self.run_ids]
        return self


class RunJoin(QueryModel):
    """Query of `GET …/join`."""

    cancel_on_disconnect: bool = False


class RunJoinStream(RunJoin):
    """Query of `GET …/stream`."""

    stream_mode: Annotated[list[StreamMode], Listed] = []
    last_event_id: LastEventId = ""
