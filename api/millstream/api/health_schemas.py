"""The responses about the server itself. Source: the LangGraph Platform API."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Whether the server can admit runs."""

    ok: Literal[True] = Field(description="True: a server that can't admit runs responds 503.")
    services: dict[str, str] = Field(
        description="`redis` and `workers`: `healthy`, or what is wrong."
    )


class ServerInfo(BaseModel):
    """The server's version and features."""

    version: str = Field(description="Millstream's version.")
    flags: dict[str, bool] = Field(description="The features that clients ask for.")
    host: dict[str, Any] = Field(description="How the server is hosted.")
    metadata: dict[str, Any] = Field(description="Empty.")
