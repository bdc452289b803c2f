"""Requests for assistants, and the Assistant that the API returns. Source: the LangGraph Platform API."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from millstream.api.http.schema_base import (
    MAX_OFFSET,
    Limit,
    Offset,
    QueryModel,
    RequestModel,
    SortOrder,
)
from millstream.api.runs.config_schemas import Config
from millstream.api.threads.schemas import Filter, ThreadId
from millstream.shared.metadata_index import MAX_DEPTH, depth
from millstream.shared.rules.queue_names import QUEUE_KEY, queue_name_error

AssistantField = Literal[
    "assistant_id", "graph_id", "name", "description", "config", "context", "created_at",
    "updated_at", "metadata", "version",
]  # fmt: skip


def _not_too_deep(value: Any) -> Any:
    plain = value.model_dump() if isinstance(value, BaseModel) else value
    if depth(plain) > MAX_DEPTH:
        raise ValueError(f"at most {MAX_DEPTH} levels deep")
    return value


def _names_a_queue(metadata: dict[str, Any]) -> dict[str, Any]:
    name = metadata.get(QUEUE_KEY)
    if name is not None and (reason := queue_name_error(name)):
        raise ValueError(f"{QUEUE_KEY}: {reason}")
    return metadata


Object = Annotated[dict[str, Any], AfterValidator(_not_too_deep)]
Metadata = Annotated[Object, AfterValidator(_names_a_queue)]
AssistantConfig = Annotated[Config, AfterValidator(_not_too_deep)]
AssistantId = ThreadId  # a UUID, in its usual form


class AssistantVersion(BaseModel):
    """A version of an assistant, as the API returns it."""

    assistant_id: str = Field(description="The assistant's id.")
    graph_id: str = Field(description="The name of its graph.")
    config: dict[str, Any] = Field(description="Defaults for each run's config.")
    context: dict[str, Any] = Field(description="Defaults for each run's context.")
    metadata: dict[str, Any] = Field(description="Its metadata.")
    version: int = Field(description="The version's number, from 1.")
    name: str = Field(description="Its name.")
    description: str | None = Field(description="Its description.")
    created_at: str = Field(description="The time of its creation, in ISO 8601.")


class Assistant(AssistantVersion):
    """An assistant, as the API returns it."""

    updated_at: str = Field(description="The time of its last change.")


class GraphSchemas(BaseModel):
    """The JSON schemas of a graph; null for a type that has no JSON schema."""

    graph_id: str = Field(description="The name of the graph.")
    input_schema: dict[str, Any] | None = Field(description="Of its input.")
    output_schema: dict[str, Any] | None = Field(description="Of its output.")
    state_schema: dict[str, Any] | None = Field(description="Of its state.")
    config_schema: dict[str, Any] | None = Field(description="Of `config.configurable`.")
    context_schema: dict[str, Any] | None = Field(description="Of its context.")


class GraphDrawing(BaseModel):
    """A graph, to be drawn."""

    nodes: list[dict[str, Any]] = Field(description="The nodes, each with its `id`.")
    edges: list[dict[str, Any]] = Field(description="The edges, each with `source` and `target`.")


class AssistantCreate(RequestModel):
    """`POST /assistants`"""

    graph_id: str = Field(min_length=1, description="The name of a graph.")
    assistant_id: AssistantId | None = Field(
        default=None, description="The assistant's id. Default: a new one."
    )
    config: AssistantConfig | None = Field(
        default=None, description="Defaults for each run's config, entry by entry."
    )
    context: Object = Field(
        default={}, description="Defaults for each run's context, entry by entry."
    )
    metadata: Metadata = Field(
        default={},
        description="Defaults for each run's metadata, as far as they are valid there. "
        f"`{QUEUE_KEY}` is the queue that gets the assistant's runs.",
    )
    if_exists: Literal["raise", "do_nothing"] = Field(
        default="raise",
        description="Whether an existing assistant is an error (409), or the response.",
    )
    name: str = Field(default="Untitled", min_length=1, description="The assistant's name.")
    description: str | None = Field(default=None, description="The assistant's description.")


class AssistantPatch(RequestModel):
    """`PATCH /assistants/{assistant_id}`: absent fields stay as they are; metadata is merged."""

    graph_id: str | None = Field(
        default=None, min_length=1, description="The name of another graph."
    )
    config: AssistantConfig | None = Field(default=None, description="Replaces the config.")
    context: Object | None = Field(default=None, description="Replaces the context.")
    metadata: Metadata = Field(
        default={},
        description="Merged into the assistant's metadata. "
        f"`{QUEUE_KEY}` is the queue that gets the assistant's runs; null: its graph's.",
    )
    name: str | None = Field(default=None, min_length=1, description="The new name.")
    description: str | None = Field(default=None, description="The new description.")


class AssistantDelete(QueryModel):
    """`DELETE /assistants/{assistant_id}`"""

    delete_threads: bool = Field(
        default=False, description="Also deletes the threads whose newest run is the assistant's."
    )


class AssistantFilter(RequestModel):
    """`POST /assistants/count`: assistants that match all fields."""

    metadata: Filter = Field(
        default={}, description="Entries that the assistant's metadata contains."
    )
    graph_id: str | None = Field(default=None, description="The name of the graph.")
    name: str | None = Field(default=None, description="Part of the name, in any case.")


class AssistantSearch(AssistantFilter):
    """`POST /assistants/search`"""

    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] = Field(
        default="created_at", description="The field by which the list is sorted."
    )
    sort_order: SortOrder = "desc"
    select: list[AssistantField] = Field(
        default=[], description="The fields to return. Default: all."
    )


class VersionSearch(RequestModel):
    """`POST /assistants/{assistant_id}/versions`: newest first."""

    metadata: Filter = Field(
        default={}, description="Entries that the version's metadata contains."
    )
    limit: Limit = 10
    offset: Offset = 0


class VersionChoice(RequestModel):
    """`POST /assistants/{assistant_id}/latest`"""

    version: int = Field(ge=1, le=MAX_OFFSET, description="The version's number.")


class DrawQuery(QueryModel):
    """`GET /assistants/{assistant_id}/graph`"""

    xray: bool | Annotated[int, Field(ge=1, le=100)] = Field(
        default=False,
        description="Draws subgraphs in place of their nodes; a number limits the levels.",
    )


class SubgraphsQuery(QueryModel):
    """`GET /assistants/{assistant_id}/subgraphs`"""

    recurse: bool = Field(default=False, description="Includes the subgraphs of subgraphs.")
