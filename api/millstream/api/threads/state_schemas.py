"""Requests for a thread's state and history, and the ThreadState that the API returns.

Source: the LangGraph Platform API.
"""

import uuid
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from millstream.api.http.schema_base import Limit, QueryList, QueryModel, RequestModel

STATE_FIELDS: Final = (
    "values", "next", "tasks", "checkpoint", "metadata", "created_at", "parent_checkpoint",
    "interrupts", "checkpoint_id", "parent_checkpoint_id",
)  # fmt: skip


def _uuid(value: str) -> str:
    """Returns the id in its usual form: the id of each checkpoint of LangGraph is a UUID."""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValueError("must be a UUID") from None


def _selectable(names: list[str]) -> list[str]:
    for name in names:
        if name not in STATE_FIELDS and not name.startswith("values."):
            raise ValueError(
                f"{name[:60]!r} is not a field of a state: give {', '.join(STATE_FIELDS)} or values.<key>"
            )
    return names


def _checkpoint_id_of(value: Any) -> Any:
    """Returns the checkpoint's id, which clients send alone, in a checkpoint, or in a config."""
    if isinstance(value, dict):
        checkpoint = value.get("configurable", value)
        if not isinstance(checkpoint, dict) or "checkpoint_id" not in checkpoint:
            raise ValueError("an object must have a `checkpoint_id`, or a `configurable` with one")
        return checkpoint["checkpoint_id"]
    return value


CheckpointId = Annotated[str, AfterValidator(_uuid)]
Before = Annotated[
    CheckpointId,
    BeforeValidator(_checkpoint_id_of, json_schema_input_type=str | dict[str, Any]),
]
Select = Annotated[list[str], QueryList, AfterValidator(_selectable)]


class CheckpointSelector(RequestModel):
    """Selects one checkpoint of the thread, of the root graph or of a subgraph (`checkpoint_ns`)."""

    thread_id: CheckpointId | None = Field(
        default=None, description="The thread of the path; another one is invalid."
    )
    checkpoint_ns: str = Field(
        default="", description="The namespace of a subgraph; the root graph's is empty."
    )
    checkpoint_id: CheckpointId | None = Field(
        default=None, description="The checkpoint's id. Default: the newest."
    )
    checkpoint_map: dict[str, CheckpointId] | None = Field(
        default=None, description="The ids of the checkpoints of all graphs, by namespace."
    )


class StateQuery(QueryModel):
    """Query of `GET /threads/{thread_id}/state` and `…/state/{checkpoint_id}`."""

    subgraphs: bool = Field(
        default=False, description="Includes the states of subgraphs, in `tasks`."
    )
    select: Select = Field(
        default=[],
        description="The fields to return, such as `values` or `values.messages`. Default: all.",
    )


class StateAtCheckpoint(RequestModel):
    """`POST /threads/{thread_id}/state/checkpoint`"""

    checkpoint: CheckpointSelector = Field(description="The checkpoint.")
    subgraphs: bool = Field(
        default=False, description="Includes the states of subgraphs, in `tasks`."
    )
    select: Select = Field(
        default=[],
        description="The fields to return, such as `values` or `values.messages`. Default: all.",
    )


class StateUpdate(RequestModel):
    """`POST /threads/{thread_id}/state`"""

    values: dict[str, Any] | list[Any] | None = Field(
        default=None, description="The values to write: an object, or a list of objects."
    )
    as_node: str | None = Field(
        default=None, description="The node that writes them. Default: the node that wrote last."
    )
    checkpoint: CheckpointSelector = Field(
        default=CheckpointSelector(),
        description="The checkpoint after which the update is stored. Default: the newest.",
    )
    checkpoint_id: CheckpointId | None = Field(
        default=None, description="The id of that checkpoint, alone."
    )

    @model_validator(mode="after")
    def _agrees(self) -> "StateUpdate":
        checkpoint_id = self.checkpoint.checkpoint_id
        if self.checkpoint_id is not None:
            if checkpoint_id not in (None, self.checkpoint_id):
                raise ValueError("checkpoint, checkpoint_id: the two ids differ")
            self.checkpoint = self.checkpoint.model_copy(
                update={"checkpoint_id": self.checkpoint_id}
            )
        return self


class StateUpdated(BaseModel):
    """The checkpoint of an update. Clients of different versions read it from different fields."""

    checkpoint: dict[str, Any] = Field(description="The new checkpoint.")
    configurable: dict[str, Any] = Field(description="The new checkpoint, as a config has it.")
    checkpoint_id: str = Field(description="The id of the new checkpoint.")


class HistoryQuery(QueryModel):
    """Query of `GET /threads/{thread_id}/history`."""

    limit: Limit = 10
    before: CheckpointId | None = Field(
        default=None, description="The id of a checkpoint: the list has those before it."
    )
    select: Select = Field(
        default=[],
        description="The fields to return, such as `values` or `values.messages`. Default: all.",
    )


class HistoryRequest(RequestModel):
    """`POST /threads/{thread_id}/history`"""

    limit: Limit = 1
    before: Before | None = Field(
        default=None,
        description="The list has the checkpoints before this one: its id, a checkpoint, or a config.",
    )
    metadata: dict[str, Any] = Field(
        default={}, description="Entries that the checkpoints' metadata contains."
    )
    checkpoint: CheckpointSelector = Field(
        default=CheckpointSelector(),
        description="The subgraph (`checkpoint_ns`), or the one checkpoint to return.",
    )
    select: Select = Field(
        default=[],
        description="The fields to return, such as `values` or `values.messages`. Default: all.",
    )


class ThreadState(BaseModel):
    """The state of a thread at one checkpoint."""

    values: dict[str, Any] | list[Any] = Field(description="The values of the state's channels.")
    next: list[str] = Field(description="The nodes that run next.")
    tasks: list[dict[str, Any]] = Field(
        description="The tasks of the next step, with their interrupts and errors."
    )
    metadata: dict[str, Any] | None = Field(description="The checkpoint's metadata.")
    created_at: str | None = Field(description="The time of the checkpoint, in ISO 8601.")
    checkpoint: dict[str, Any] | None = Field(description="The checkpoint.")
    parent_checkpoint: dict[str, Any] | None = Field(description="The checkpoint before it.")
    interrupts: list[dict[str, Any]] = Field(description="The interrupts of all tasks.")
    checkpoint_id: str | None = Field(description="The checkpoint's id.")
    parent_checkpoint_id: str | None = Field(description="The id of the checkpoint before it.")
