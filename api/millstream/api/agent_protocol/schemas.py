"""Requests and responses of the Agent Protocol that the LangGraph Platform API lacks.

Source: the Agent Protocol's OpenAPI document (github.com/langchain-ai/agent-protocol).
"""

from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator

from millstream.api.http.schema_base import MAX_OFFSET, RequestModel
from millstream.api.runs.schemas import Run
from millstream.api.threads.schemas import Filter, ThreadId
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus


class AgentSearch(RequestModel):
    """`POST /agents/search`"""

    name: str | None = Field(default=None, description="Part of the name, in any case.")
    metadata: Filter = Field(default={}, description="Entries that the agent's metadata contains.")
    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)


class Agent(BaseModel):
    """An assistant, in the form of the Agent Protocol."""

    agent_id: str
    name: str
    description: str
    metadata: dict[str, Any]
    capabilities: dict[str, bool] = Field(
        description="`ap.io.streaming`, and `ap.io.messages` if the graph's input has `messages`."
    )


class AgentSchemas(BaseModel):
    """The JSON schemas of an agent's input, output, state and config."""

    agent_id: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    state_schema: dict[str, Any]
    config_schema: dict[str, Any]


class RunSearch(RequestModel):
    """`POST /runs/search`: runs of one thread, or runs that have not ended."""

    thread_id: ThreadId | None = None
    status: Annotated[RunStatus, Field(strict=False)] | None = None
    agent_id: str | None = Field(
        default=None, description="An assistant's UUID, or a graph's name."
    )
    metadata: Filter = Field(default={}, description="Entries that the run's metadata contains.")
    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)

    @model_validator(mode="after")
    def _is_searchable(self) -> "RunSearch":
        if self.thread_id is None and (self.status is None or self.status in TERMINAL):
            raise ValueError(
                "thread_id, status: runs that have ended are searched within one thread: give a thread_id, or "
                "search for `pending` or `running` runs of all threads"
            )
        return self


class AgentRun(Run):
    """A run, with `agent_id`: the protocol's name for its assistant."""

    agent_id: str


class RunWait(BaseModel):
    """The response of `GET /runs/{run_id}/wait`."""

    run: AgentRun
    values: Any = Field(description="The run's final state, without its messages.")
    messages: list[Any] | None = Field(
        default=None, description="The state's messages, each with its `role`, if it has any."
    )
