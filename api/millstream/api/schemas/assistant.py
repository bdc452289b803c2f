"""Assistants. Source: the LangGraph Platform API."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from millstream.api.schemas.base import FARTHEST, RequestModel

AssistantField = Literal[
    "assistant_id", "graph_id", "name", "description", "config", "context", "created_at",
    "updated_at", "metadata", "version",
]  # fmt: skip


class Assistant(BaseModel):
    """An assistant as the API shows it."""

    assistant_id: str
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    version: int
    name: str
    description: str | None
    created_at: str
    updated_at: str


class AssistantSearch(RequestModel):
    """`POST /assistants/search`"""

    metadata: dict[str, Any] = {}
    graph_id: str | None = None
    name: str | None = Field(default=None, description="Part of the name, in any case.")
    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=FARTHEST)
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"
    select: list[AssistantField] = []
