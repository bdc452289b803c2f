"""The options of a run, for runs and crons, and the parts of a request that several resources have.

Source: the LangGraph Platform API.
"""

import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from millstream.api.http.schema_base import RequestModel
from millstream.shared.events.modes import MODES
from millstream.shared.rules.multitask import Strategy
from millstream.shared.rules.run_metadata import run_metadata_error

if TYPE_CHECKING:
    StreamMode = str  # mypy accepts no computed Literal
else:
    StreamMode = Literal[tuple(MODES)]


def _check_metadata(value: dict[str, Any]) -> dict[str, Any]:
    error = run_metadata_error(value)
    if error:
        raise ValueError(error)
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def uuid_of(field: str, value: str) -> str:
    """Returns the id in its usual form."""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValueError(f"{field}: {value[:60]!r} is not a UUID") from None


def _without_duplicates(value: list[str]) -> list[str]:
    return list(dict.fromkeys(value))


RunMetadata = Annotated[dict[str, Any], AfterValidator(_check_metadata)]
StreamModes = Annotated[
    list[StreamMode],
    BeforeValidator(_as_list, json_schema_input_type=StreamMode | list[StreamMode]),
    AfterValidator(_without_duplicates),
]
MultitaskStrategy = Annotated[Strategy, Field(strict=False)]
Breakpoints = Literal["*"] | list[str]


def _no_graph(value: Any) -> None:
    raise ValueError(
        "a command is for the graph of its run; only nodes can send one to a parent graph"
    )


class SendTo(RequestModel):
    """A node to execute, and its input."""

    node: str = Field(description="The node's name.")
    input: Any = Field(default=None, description="The node's input.")


class Command(RequestModel):
    """Resumes, updates or redirects a thread in place of an input. An empty command counts as absent."""

    update: dict[str, Any] | list[tuple[str, Any]] | None = Field(
        default=None,
        description="An update of the state: channels and values, as an object or as pairs.",
    )
    resume: Any = Field(
        default=None,
        description="The answer to the thread's interrupt, or an object of answers by the interrupts' ids.",
    )
    goto: str | SendTo | list[str | SendTo] | None = Field(
        default=None,
        description="The node or nodes that run next, each with an input if it is an object.",
    )
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

    thread_id: str | None = Field(
        default=None, description="The thread of the path; another one is invalid."
    )
    checkpoint_ns: str | None = Field(
        default=None, description="The namespace of a subgraph; the root graph's is empty."
    )
    checkpoint_id: str | None = Field(default=None, description="The checkpoint's id.")
    checkpoint_map: dict[str, Any] | None = Field(
        default=None, description="The ids of the checkpoints of all graphs, by namespace."
    )

    def selects_checkpoint(self) -> bool:
        """Returns whether a field has a value: clients also send a checkpoint whose fields are empty."""
        return any(self.model_dump().values())


class LangsmithTracer(RequestModel):
    """The LangSmith project for the run's trace, if its worker sends traces."""

    project_name: str | None = Field(default=None, description="The project's name.")
    example_id: (
        Annotated[str, AfterValidator(lambda value: uuid_of("example_id", value))] | None
    ) = Field(
        default=None, description="The UUID of the dataset's example that the run belongs to."
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
    interrupt_before: Breakpoints | None = Field(
        default=None, description="Nodes before which the run stops, or `*` for all."
    )
    interrupt_after: Breakpoints | None = Field(
        default=None, description="Nodes after which the run stops, or `*` for all."
    )
    stream_mode: StreamModes = Field(
        default=["values"], description="The events that the run streams: one mode, or several."
    )
    stream_subgraphs: bool = Field(
        default=False, description="Streams the events of subgraphs too."
    )
    stream_resumable: bool = Field(
        default=False, description="Each stream can be resumed, with any value."
    )
    feedback_keys: list[str] | None = Field(
        default=None, description="Stored with the run and returned."
    )
    durability: Literal["sync", "async", "exit"] | None = Field(
        default=None,
        description="When checkpoints are stored: before the next step, during it, or at the end. Default: `async`.",
    )
    checkpoint_during: bool | None = Field(
        default=None, description="The older form of `durability`: `false` means `exit`."
    )
    langsmith_tracer: LangsmithTracer | None = Field(
        default=None, description="The project of the run's trace in LangSmith."
    )
    strict_resume: bool = Field(
        default=False,
        description="Fails the run, and leaves the thread unchanged, if its resume answers an interrupt "
        "that is not waiting.",
    )
