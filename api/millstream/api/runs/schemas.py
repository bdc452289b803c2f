"""Requests for runs, and the Run that the API returns. Source: the LangGraph Platform API."""

import math
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, Field, RootModel, model_validator

from millstream.api.http.schema_base import (
    LastEventId,
    Limit,
    Offset,
    QueryList,
    QueryModel,
    RequestModel,
)
from millstream.api.runs.config_schemas import Config
from millstream.api.runs.option_schemas import (
    Checkpoint,
    Command,
    MultitaskStrategy,
    OptionFields,
    RunMetadata,
    StreamMode,
    uuid_of,
)
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason, Strategy
from millstream.shared.wire import RunConfig, RunOptions, RunRequest

MAX_RUNS: Final = 500  # in one batch
MAX_DELAY_SECONDS: Final = 10 * 365 * 86400


class RunCreate(OptionFields):
    """The fields of a new run, stateful or stateless."""

    assistant_id: str = Field(min_length=1, description="A graph's name, or an assistant's UUID.")
    input: Any = Field(
        default=None,
        description="The graph's input; null continues from the state. Ignored if there is a command.",
    )
    command: Command | None = Field(
        default=None, description="Resumes, updates or redirects the graph in place of an input."
    )
    metadata: RunMetadata = Field(
        default={},
        description="At most 32 entries: texts of up to 512 characters, numbers and booleans.",
    )
    config: Config = Field(
        default=Config(), description="The config of the graph; it wins over the assistant's."
    )
    context: dict[str, Any] = Field(
        default={}, description="The static context of the graph; it wins over the assistant's."
    )
    stream: bool = Field(
        default=False, description="Streams the events of a run that is created in the background."
    )
    multitask_strategy: MultitaskStrategy = Field(
        default=Strategy.ENQUEUE,
        description="What happens if the thread has a run that has not ended.",
    )
    on_disconnect: Literal["cancel", "continue"] = Field(
        default="cancel",
        description="What happens to the run if the client that follows it leaves.",
    )
    after_seconds: int | float = Field(
        default=0, ge=0, le=MAX_DELAY_SECONDS, description="Seconds until the run is due."
    )

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

    checkpoint: Checkpoint | None = Field(
        default=None, description="The checkpoint from which the run starts. Default: the newest."
    )
    checkpoint_id: str | None = Field(default=None, description="The id of that checkpoint, alone.")
    if_not_exists: Literal["create", "reject"] = Field(
        default="reject", description="Whether an unknown thread is created, or is an error (404)."
    )

    def _thread(self) -> dict[str, Any]:
        checkpoint = self.checkpoint.model_dump(exclude={"thread_id"}) if self.checkpoint else {}
        checkpoint["checkpoint_id"] = checkpoint.get("checkpoint_id") or self.checkpoint_id
        return {
            "checkpoint": {name: value for name, value in checkpoint.items() if value},
            "creates_thread": self.if_not_exists == "create",
        }


class RunCreateStateless(RunCreate):
    """`POST /runs…`: the run gets a new thread."""

    on_completion: Literal["delete", "keep"] = Field(
        default="delete", description="Whether the run's thread is deleted after its end."
    )
    if_not_exists: Literal["create", "reject"] | None = Field(
        default=None, description="Has no effect: the thread is always new."
    )
    checkpoint: Checkpoint | None = Field(
        default=None, description="Invalid, unless it is empty: the thread has no checkpoints."
    )
    checkpoint_id: str | None = Field(
        default=None, description="Invalid: the thread has no checkpoints."
    )

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

    run_id: str = Field(description="The run's id.")
    thread_id: str = Field(description="The id of the run's thread.")
    assistant_id: str = Field(description="The id of the run's assistant.")
    created_at: str = Field(description="The time of its creation, in ISO 8601.")
    updated_at: str = Field(description="The time of its last change.")
    status: RunStatus = Field(
        description="`pending` until a worker takes it, then `running`, then its end: `interrupted` by a cancel."
    )
    metadata: dict[str, Any] = Field(description="The run's metadata, and its assistant's.")
    kwargs: dict[str, Any] = Field(
        description="The request that created the run, with all defaults."
    )
    multitask_strategy: Strategy = Field(description="The strategy of the request.")
    langsmith_session_name: str | None = Field(description="The project of its trace in LangSmith.")
    cancel_reason: CancelReason | None = Field(description="The reason of the run's cancel.")


class RunList(QueryModel):
    """Query of `GET /threads/{thread_id}/runs`."""

    limit: Limit = 10
    offset: Offset = 0
    status: RunStatus | None = Field(default=None, description="The runs' status.")
    select: Annotated[
        list[
            Literal[
                "run_id", "thread_id", "assistant_id", "created_at", "updated_at", "status",
                "metadata", "kwargs", "multitask_strategy", "langsmith_session_name",
                "cancel_reason",
            ]
        ],
        QueryList,
    ] = Field(default=[], description="The fields to return. Default: all.")  # fmt: skip


class RunCancel(QueryModel):
    """Query of `POST /threads/{thread_id}/runs/{run_id}/cancel`."""

    wait: bool = Field(default=False, description="Responds after the end of the run, with 200.")
    action: CancelAction = Field(
        default=CancelAction.INTERRUPT,
        description="`interrupt` keeps the run and its checkpoints, `rollback` deletes both.",
    )


class RunsCancelQuery(QueryModel):
    """Query of `POST /runs/cancel`."""

    action: CancelAction = Field(
        default=CancelAction.INTERRUPT,
        description="`interrupt` keeps the runs and their checkpoints, `rollback` deletes both.",
    )


class RunsCancel(RequestModel):
    """`POST /runs/cancel`: runs by their status, or runs of one thread."""

    status: Literal["pending", "running", "all"] | None = Field(
        default=None, description="Cancels all runs with this status."
    )
    thread_id: str | None = Field(default=None, description="The thread of `run_ids`.")
    run_ids: list[str] | None = Field(default=None, description="Cancels these runs.")

    @model_validator(mode="after")
    def _is_one_of_two(self) -> "RunsCancel":
        by_id = self.thread_id is not None or self.run_ids is not None
        if by_id == (self.status is not None):
            raise ValueError("give either `status`, or `thread_id` and `run_ids`")
        if by_id and (self.thread_id is None or not self.run_ids):
            raise ValueError("`thread_id` and `run_ids` must be given together")
        if self.thread_id is not None and self.run_ids is not None:
            self.thread_id = uuid_of("thread_id", self.thread_id)
            self.run_ids = [uuid_of("run_ids", run_id) for run_id in self.run_ids]
        return self


class RunJoin(QueryModel):
    """Query of `GET …/join`."""

    cancel_on_disconnect: bool = Field(
        default=False, description="Cancels the run if this client leaves."
    )


class RunJoinStream(RunJoin):
    """Query of `GET …/stream`."""

    stream_mode: Annotated[list[StreamMode], QueryList] = Field(
        default=[], description="The events to send. Default: all that the run streams."
    )
    last_event_id: LastEventId = ""
