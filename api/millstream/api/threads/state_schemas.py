"""Requests for a thread's state and history, and the ThreadState that the API returns.

Source: the LangGraph Platform API.
"""

import uuid
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from millstream.api.http.schema_base import QueryList, QueryModel, RequestModel

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
Before = Annotated[CheckpointId, BeforeValidator(_checkpoint_id_of)]
Select = Annotated[list[str], QueryList, AfterValidator(_selectable)]


class CheckpointSelector(RequestModel):
    """Selects one checkpoint of the thread, of the root graph or of a subgraph (`checkpoint_ns`)."""

    thread_id: CheckpointId | None = None
    checkpoint_ns: str = ""
    checkpoint_id: CheckpointId | None = None
    checkpoint_map: dict[str, CheckpointId] | None = None


class StateQuery(QueryModel):
    """Query of `GET /threads/{thread_id}/state` and `…/state/{checkpoint_id}`."""

    subgraphs: bool = False
    select: Select = []


class StateAtCheckpoint(RequestModel):
    """`POST /threads/{thread_id}/state/checkpoint`"""

    checkpoint: CheckpointSelector
    subgraphs: bool = False
    select: Select = []


class StateUpdate(RequestModel):
    """`POST /threads/{thread_id}/state`"""

    values: dict[str, Any] | list[Any] | None = None
    as_node: str | None = None
    checkpoint: CheckpointSelector = CheckpointSelector()
    checkpoint_id: CheckpointId | None = None

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

    checkpoint: dict[str, Any]
    configurable: dict[str, Any]
    checkpoint_id: str


class HistoryQuery(QueryModel):
    """Query of `GET /threads/{thread_id}/history`."""

    limit: int = Field(default=10, ge=1, le=1000)
    before: CheckpointId | None = None
    select: Select = []


class HistoryRequest(RequestModel):
    """`POST /threads/{thread_id}/history`"""

    limit: int = Field(default=1, ge=1, le=1000)
    before: Before | None = None
    metadata: dict[str, Any] = {}
    checkpoint: CheckpointSelector = CheckpointSelector()
    select: Select = []


class ThreadState(BaseModel):
    """The state of a thread at one checkpoint."""

    values: dict[str, Any] | list[Any]
    next: list[str]
    tasks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    created_at: str | None
    checkpoint: dict[str, Any] | None
    parent_checkpoint: dict[str, Any] | None
    interrupts: list[dict[str, Any]]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None
