"""Requests for assistants, and the Assistant that the API returns. Source: the LangGraph Platform API."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from millstream.api.http.schema_base import MAX_OFFSET, QueryModel, RequestModel
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

    assistant_id: str
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    version: int
    name: str
    description: str | None
    created_at: str


class Assistant(AssistantVersion):
    """An assistant, as the API returns it."""

    updated_at: str


class GraphSchemas(BaseModel):
    """The JSON schemas of a graph; null for a type that has no JSON schema."""

    graph_id: str
    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    state_schema: dict[str, Any] | None
    config_schema: dict[str, Any] | None
    context_schema: dict[str, Any] | None


class AssistantCreate(RequestModel):
    """`POST /assistants`"""

    graph_id: str = Field(min_length=1, description="The name of a graph.")
    assistant_id: AssistantId | None = None
    config: AssistantConfig | None = Field(
        default=None, description="Defaults for each run's config, entry by entry."
    )
    context: Object = {}
    metadata: Metadata = Field(
        default={},
        description="Defaults for each run's metadata, as far as they are valid there. "
        f"`{QUEUE_KEY}` is the queue that gets the assistant's runs.",
    )
    if_exists: Literal["raise", "do_nothing"] = "raise"
    name: str = Field(default="Untitled", min_length=1)
    description: str | None = None


class AssistantPatch(RequestModel):
    """`PATCH /assistants/{assistant_id}`: absent fields stay as they are; metadata is merged."""

    graph_id: str | None = Field(default=None, min_length=1)
    config: AssistantConfig | None = None
    context: Object | None = None
    metadata: Metadata = Field(
        default={},
        description=f"`{QUEUE_KEY}` is the queue that gets the assistant's runs; null: its graph's.",
    )
    name: str | None = Field(default=None, min_length=1)
    description: str | None = None


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
    graph_id: str | None = None
    name: str | None = Field(default=None, description="Part of the name, in any case.")


class AssistantSearch(AssistantFilter):
    """`POST /assistants/search`"""

    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"
    select: list[AssistantField] = []


class VersionSearch(RequestModel):
    """`POST /assistants/{assistant_id}/versions`: newest first."""

    metadata: Filter = {}
    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)


class VersionChoice(RequestModel):
    """`POST /assistants/{assistant_id}/latest`"""

    version: int = Field(ge=1, le=MAX_OFFSET)


class DrawQuery(QueryModel):
    """`GET /assistants/{assistant_id}/graph`"""

    xray: bool | Annotated[int, Field(ge=1, le=100)] = Field(
        default=False,
        description="Draws subgraphs in place of their nodes; a number limits the levels.",
    )


class SubgraphsQuery(QueryModel):
    """`GET /assistants/{assistant_id}/subgraphs`"""

    recurse: bool = Field(default=False, description="Includes the subgraphs of subgraphs.")
