"""The query of an agent's card."""

from pydantic import Field

from millstream.api.http.schema_base import QueryModel


class CardQuery(QueryModel):
    """Query of `GET /.well-known/agent-card.json`."""

    assistant_id: str | None = Field(
        default=None,
        description="The agent. Default: A2A_ASSISTANT, or the assistant of the only graph.",
    )
