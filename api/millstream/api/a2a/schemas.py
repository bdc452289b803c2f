"""The query of an agent's card."""

from millstream.api.http.schema_base import QueryModel


class CardQuery(QueryModel):
    """Query of `GET /.well-known/agent-card.json`."""

    assistant_id: str | None = None  # None: A2A_ASSISTANT, or the assistant of the only graph
