"""Requests of the event streaming protocol. Source: langchain_protocol."""

import re
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.alias_generators import to_camel

from millstream.api.http.schema_base import RequestModel
from millstream.api.runs.config_schemas import Config
from millstream.api.runs.schemas import RunCreateStateful, RunMetadata, SendTo
from millstream.shared.events.protocol import CHANNELS, CUSTOM_PREFIX, LAST_SEQ

Namespace = list[str]
# LangGraph's form of an interrupt's id: an object with such names alone answers interrupts by their ids.
INTERRUPT_ID: Final = re.compile("[0-9a-f]{32}")


def _channels(given: list[str]) -> list[str]:
    unknown = [
        name
        for name in given
        if name not in CHANNELS
        and not (name.startswith(CUSTOM_PREFIX) and len(name) > len(CUSTOM_PREFIX))
    ]
    if unknown:
        raise ValueError(
            f"channels contains unsupported entries: {', '.join(unknown)[:200]}. "
            f"Allowed: {', '.join(CHANNELS)}, or any `custom:<name>`."
        )
    return given


class EventFilter(RequestModel):
    """Which events of a thread are wanted."""

    channels: Annotated[list[str], AfterValidator(_channels)] = Field(
        description=f"Of {', '.join(f'`{name}`' for name in CHANNELS)}, `custom:<name>` (the custom events of "
        "that name)."
    )
    namespaces: list[Namespace] | None = Field(
        default=None,
        description="Graphs whose events are wanted, with the graphs within; `child` stands for any `child:<id>`.",
    )
    depth: int | None = Field(
        default=None, ge=0, description="How far below these, or below the root, a graph may lie."
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
        description="The `seq` after which events are wanted; none: all.",
    )


class ProtocolCommand(RequestModel):
    """`POST /threads/{thread_id}/commands`"""

    id: int = Field(ge=0, description="The client's own; the answer has it too.")
    method: str = Field(description="`run.start`, `input.respond` or `agent.getTree`.")
    params: dict[str, Any] = {}


class Params(RequestModel):
    """The params of a command: each in either spelling (`run_id`, `runId`), none that is not known."""

    beside: ClassVar[frozenset[str]] = frozenset()  # taken, and no fields
    refused: ClassVar[frozenset[str]] = frozenset()  # fields, and not taken

    @classmethod
    def spelled(cls, data: Any) -> Any:
        """Returns the params by the names of the fields; raises ValueError for a name that is none."""
        if not isinstance(data, dict):
            return data
        known = (set(cls.model_fields) | cls.beside) - cls.refused
        spellings = {to_camel(name): name for name in known}
        found: dict[str, Any] = {}
        for given, value in data.items():
            name = spellings.get(given, given)
            if name not in known:
                raise ValueError(
                    f"{given[:60]}: there is no such param; known are {', '.join(sorted(known))}"
                )
            before = found.get(name)
            if before is not None and value is not None and before != value:
                raise ValueError(f"{name}, {to_camel(name)}: they have two different values")
            found[name] = value if before is None else before
        return found

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        return cls.spelled(data)


class RunStart(Params, RunCreateStateful):
    """`run.start`: what `POST /threads/{thread_id}/runs` takes, but for how its events are streamed."""

    beside = frozenset({"fork_from"})
    refused = frozenset(
        {"stream", "stream_mode", "stream_subgraphs", "stream_resumable", "on_disconnect"}
    )

    if_not_exists: Literal["create", "reject"] = "create"

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        """The npm SDK before 1.9.31 sends `forkFrom`, a checkpoint, as it is given."""
        found = cls.spelled(data)
        if not isinstance(found, dict):
            return found
        place = found.pop("fork_from", None)
        if place is None:
            return found
        if isinstance(place, dict):
            place = place.get("checkpointId") or place.get("checkpoint_id")
        if not isinstance(place, str) or not place:
            raise ValueError("fork_from: it names no checkpoint")
        return {**found, "checkpoint_id": place}


class Answer(Params):
    """The answer to one interrupt."""

    nullable = frozenset({"response"})

    interrupt_id: str = Field(min_length=1)
    namespace: Namespace = []
    response: Any

    @model_validator(mode="before")
    @classmethod
    def _is_given(cls, data: Any) -> Any:
        if isinstance(data, dict) and "response" not in data:
            raise ValueError("response: Field required")
        return data


OF_ONE: Final = frozenset(Answer.model_fields)


class InputRespond(Params):
    """`input.respond`: answers to what the thread waits for, and what to do beside."""

    beside = OF_ONE

    responses: list[Answer] = Field(min_length=1)
    update: dict[str, Any] | None = None
    goto: str | SendTo | list[str | SendTo] | None = None
    config: Config = Config()
    metadata: RunMetadata = {}
    strict_resume: bool = False

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        """One answer may stand among the params, in place of `responses`."""
        found = cls.spelled(data)
        if not isinstance(found, dict):
            return found
        one = {name: value for name, value in found.items() if name in OF_ONE}
        if found.get("responses") is None:
            return {**{k: v for k, v in found.items() if k not in one}, "responses": [one]}
        if one:
            raise ValueError(f"responses, {next(iter(one))}: give one answer, or `responses`")
        return found

    @model_validator(mode="after")
    def _each_once(self) -> "InputRespond":
        if len({answer.interrupt_id for answer in self.responses}) < len(self.responses):
            raise ValueError("responses: an interrupt is answered twice")
        return self


class GetTree(Params):
    """`agent.getTree`"""

    run_id: str | None = None  # the newest run if it is not given


class Subscribe(Params, EventStreamRequest):
    """`subscription.subscribe`"""


class Unsubscribe(Params):
    """`subscription.unsubscribe`"""

    subscription_id: str
