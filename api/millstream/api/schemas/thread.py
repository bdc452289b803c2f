"""Threads. Source: the LangGraph Platform API."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel

from millstream.api.schemas.base import RequestModel
from millstream.shared.lifecycle import ThreadStatus


def _uuid(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValueError("Invalid thread ID: must be a UUID") from None


class ThreadCreate(RequestModel):
    """`POST /threads`"""

    thread_id: Annotated[str, AfterValidator(_uuid)] | None = None
    metadata: dict[str, Any] = {}
    if_exists: Literal["raise", "do_nothing"] = "raise"


class Thread(BaseModel):
    """A thread as the API shows it."""

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: dict[str, Any]
    status: ThreadStatus
    config: dict[str, Any]
    values: dict[str, Any] | None
    interrupts: dict[str, list[Any]]
    error: dict[str, str] | None
