"""Requests of the event streaming protocol. Source: langchain_protocol."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from millstream.api.schemas.base import RequestModel
from millstream.api.schemas.run import Config, RunMetadata, SendTo
from millstream.shared.protocol import CHANNELS, LAST_SEQ, NAMED

Namespace = list[str]


def _channels(given: list[str]) -> list[str]:
    unknown = [
        name
        for name in given
        if name not in CHANNELS and not (name.startswith(NAMED) and len(name) > len(NAMED))
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
        description="Of `values`, `updates`, `messages`, `tools`, `lifecycle`, `input`, `checkpoints`, "
        "`tasks`, `custom` (all custom events), `custom:<name>`."
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


class Answer(RequestModel):
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


class InputRespond(RequestModel):
    """`input.respond`: answers to what the thread waits for, and what to do beside."""

    responses: list[Answer] = Field(min_length=1)
    update: dict[str, Any] | None = None
    goto: str | SendTo | list[str | SendTo] | None = None
    config: Config = Config()
    metadata: RunMetadata = {}

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("responses") is not None:
            return data
        own = {"interrupt_id", "namespace", "response"}
        one = {name: value for name, value in data.items() if name in own}
        return {**{k: v for k, v in data.items() if k not in own}, "responses": [one]}

    @model_validator(mode="after")
    def _each_once(self) -> "InputRespond":
        if len({answer.interrupt_id for answer in self.responses}) < len(self.responses):
            raise ValueError("responses: an interrupt is answered twice")
        return self


class GetTree(RequestModel):
    """`agent.getTree`"""

    run_id: str | None = None  # the newest run if it is not given


class Unsubscribe(RequestModel):
    """`subscription.unsubscribe`"""

    subscription_id: str
