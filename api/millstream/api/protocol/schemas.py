"""Requests of the event streaming protocol. Source: langchain_protocol."""

import re
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.alias_generators import to_camel

from millstream.api.http.schema_base import RequestModel
from millstream.api.runs.config_schemas import Config
from millstream.api.runs.option_schemas import RunMetadata, SendTo
from millstream.api.runs.schemas import RunCreateStateful
from millstream.shared.events.protocol import CHANNELS, CUSTOM_PREFIX, LAST_SEQ

Namespace = list[str]
# Each event is compared with all of them.
MAX_CHANNELS: Final = 100
MAX_NAMESPACES: Final = 100
# LangGraph's form of an interrupt's id. An object whose keys all have it holds answers by their ids.
INTERRUPT_ID: Final = re.compile("[0-9a-f]{32}")


def _channels(names: list[str]) -> list[str]:
    unknown = [
        name
        for name in names
        if name not in CHANNELS
        and not (name.startswith(CUSTOM_PREFIX) and len(name) > len(CUSTOM_PREFIX))
    ]
    if unknown:
        raise ValueError(
            f"channels contains unsupported entries: {', '.join(unknown)[:200]}. "
            f"Allowed: {', '.join(CHANNELS)}, or any `custom:<name>`."
        )
    return names


class EventFilter(RequestModel):
    """The filter of a thread's events."""

    channels: Annotated[list[str], AfterValidator(_channels)] = Field(
        max_length=MAX_CHANNELS,
        description=f"One or more of {', '.join(f'`{name}`' for name in CHANNELS)}, or `custom:<name>` for custom "
        "events of one name.",
    )
    namespaces: list[Namespace] | None = Field(
        default=None,
        max_length=MAX_NAMESPACES,
        description="Graphs to include, each with the graphs inside of it; `child` matches any `child:<id>`.",
    )
    depth: int | None = Field(
        default=None, ge=0, description="Maximal depth of a graph below these, or below the root."
    )

    @model_validator(mode="before")
    @classmethod
    def _some(cls, data: Any) -> Any:
        if isinstance(data, dict):
            channels = data.get("channels")
            if not isinstance(channels, list) or not channels:
                raise ValueError("channels is required and must be a non-empty array")
        return data


class EventStreamRequest(EventFilter):
    """`POST /threads/{thread_id}/stream/events`"""

    since: int | None = Field(
        default=None,
        ge=0,
        le=LAST_SEQ,
        description="The `seq` after which the stream begins. Default: all events.",
    )


class ProtocolCommand(RequestModel):
    """`POST /threads/{thread_id}/commands`"""

    id: int = Field(ge=0, description="The client's id of the command, which the reply repeats.")
    method: str = Field(description="`run.start`, `input.respond` or `agent.getTree`.")
    params: dict[str, Any] = Field(
        default={}, description="Its params: see the descriptions of each command."
    )


class Params(RequestModel):
    """The params of a command, each in either spelling (`run_id`, `runId`). Unknown ones are invalid."""

    accepted: ClassVar[frozenset[str]] = frozenset()  # valid names that are no fields
    rejected: ClassVar[frozenset[str]] = frozenset()  # fields that are invalid here

    @classmethod
    def by_field(cls, data: Any) -> Any:
        """Returns the params by the names of their fields. Raises ValueError for an unknown name."""
        if not isinstance(data, dict):
            return data
        known = (set(cls.model_fields) | cls.accepted) - cls.rejected
        spellings = {to_camel(name): name for name in known}
        params: dict[str, Any] = {}
        for key, value in data.items():
            name = spellings.get(key, key)
            if name not in known:
                raise ValueError(f"{key[:60]}: unknown param; known are {', '.join(sorted(known))}")
            before = params.get(name)
            if before is not None and value is not None and before != value:
                raise ValueError(f"{name}, {to_camel(name)}: two different values")
            params[name] = value if before is None else before
        return params

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        return cls.by_field(data)


class RunStart(Params, RunCreateStateful):
    """`run.start`: the body of `POST /threads/{thread_id}/runs` without the fields about streaming."""

    accepted = frozenset({"fork_from"})
    rejected = frozenset(
        {"stream", "stream_mode", "stream_subgraphs", "stream_resumable", "on_disconnect"}
    )

    if_not_exists: Literal["create", "reject"] = "create"

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        """Accepts `forkFrom`, a checkpoint, which the npm SDK before 1.9.31 sends unchanged."""
        params = cls.by_field(data)
        if not isinstance(params, dict):
            return params
        checkpoint = params.pop("fork_from", None)
        if checkpoint is None:
            return params
        if isinstance(checkpoint, dict):
            checkpoint = checkpoint.get("checkpointId") or checkpoint.get("checkpoint_id")
        if not isinstance(checkpoint, str) or not checkpoint:
            raise ValueError("fork_from: must name a checkpoint")
        return {**params, "checkpoint_id": checkpoint}


class Answer(Params):
    """The answer to one interrupt."""

    nullable = frozenset({"response"})

    interrupt_id: str = Field(min_length=1)
    namespace: Namespace = []
    response: Any

    @model_validator(mode="before")
    @classmethod
    def _has_response(cls, data: Any) -> Any:
        if isinstance(data, dict) and "response" not in data:
            raise ValueError("response: Field required")
        return data


ANSWER_FIELDS: Final = frozenset(Answer.model_fields)


class InputRespond(Params):
    """`input.respond`: answers to the thread's interrupts, and options of the run that resumes it."""

    accepted = ANSWER_FIELDS

    responses: list[Answer] = Field(min_length=1)
    update: dict[str, Any] | None = None
    goto: str | SendTo | list[str | SendTo] | None = None
    config: Config = Config()
    metadata: RunMetadata = {}
    strict_resume: bool = False

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        """Accepts one answer in the params themselves, in place of `responses`."""
        params = cls.by_field(data)
        if not isinstance(params, dict):
            return params
        answer = {name: value for name, value in params.items() if name in ANSWER_FIELDS}
        if params.get("responses") is None:
            return {**{k: v for k, v in params.items() if k not in answer}, "responses": [answer]}
        if answer:
            raise ValueError(f"responses, {next(iter(answer))}: give one answer, or `responses`")
        return params

    @model_validator(mode="after")
    def _each_once(self) -> "InputRespond":
        if len({answer.interrupt_id for answer in self.responses}) < len(self.responses):
            raise ValueError("responses: an interrupt is answered twice")
        return self


class GetTree(Params):
    """`agent.getTree`"""

    run_id: str | None = None  # default: the newest run


class Subscribe(Params, EventStreamRequest):
    """`subscription.subscribe`"""


class Unsubscribe(Params):
    """`subscription.unsubscribe`"""

    subscription_id: str
