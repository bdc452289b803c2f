"""Requests and responses of the Agent Protocol that the LangGraph Platform API lacks.

Source: the Agent Protocol's OpenAPI document (github.com/langchain-ai/agent-protocol).
"""

from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator

from millstream.api.http.schema_base import Limit, Offset, RequestModel
from millstream.api.runs.schemas import Run
from millstream.api.threads.schemas import Filter, ThreadId
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus


class AgentSearch(RequestModel):
    """`POST /agents/search`"""

    name: str | None = Field(default=None, description="Part of the name, in any case.")
    metadata: Filter = Field(default={}, description="Entries that the agent's metadata contains.")
    limit: Limit = 10
    offset: Offset = 0


class Agent(BaseModel):
    """An assistant, in the form of the Agent Protocol."""

    agent_id: str = Field(description="The agent's id.")
    name: str = Field(description="Its name.")
    description: str = Field(description="Its description.")
    metadata: dict[str, Any] = Field(description="Its metadata.")
    capabilities: dict[str, bool] = Field(
        description="`ap.io.streaming`, and `ap.io.messages` if the graph's input has `messages`."
    )


class AgentSchemas(BaseModel):
    """The JSON schemas of an agent's input, output, state and config."""

    agent_id: str = Field(description="The agent's id.")
    input_schema: dict[str, Any] = Field(description="Of its input.")
    output_schema: dict[str, Any] = Field(description="Of its output.")
    state_schema: dict[str, Any] = Field(description="Of its state.")
    config_schema: dict[str, Any] = Field(description="Of `config.configurable`.")


class RunSearch(RequestModel):
    """`POST /runs/search`: runs of one thread, or runs that have not ended."""

    thread_id: ThreadId | None = Field(default=None, description="The thread of the runs.")
    status: Annotated[RunStatus, Field(strict=False)] | None = Field(
        default=None, description="The runs' status."
    )
    agent_id: str | None = Field(
        default=None, description="An assistant's UUID, or a graph's name."
    )
    metadata: Filter = Field(default={}, description="Entries that the run's metadata contains.")
    limit: Limit = 10
    offset: Offset = 0

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

    agent_id: str = Field(description="The id of the run's agent.")


class RunWait(BaseModel):
    """The response of `GET /runs/{run_id}/wait`."""

    run: AgentRun = Field(description="The run.")
    values: Any = Field(description="The run's final state, without its messages.")
    messages: list[Any] | None = Field(
        default=None, description="The state's messages, each with its `role`, if it has any."
    )
