"""Reads and updates of a thread's state, for tests of the API."""

from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel

NO_CHECKPOINT = "1ef00000-0000-6000-8000-000000000000"

Test = TypeVar("Test", bound=Callable[..., Any])
COVERED_FIELDS: dict[type[BaseModel], set[str]] = {}  # the fields that some test covers


def covers(model: type[BaseModel], *fields: str) -> Callable[[Test], Test]:
    """Records that a test covers these fields of a request."""

    def note(test: Test) -> Test:
        COVERED_FIELDS.setdefault(model, set()).update(fields)
        return test

    return note


async def state(http: httpx.AsyncClient, thread: str, tail: str = "", **query: Any) -> Any:
    response = await http.get(f"/threads/{thread}/state{tail}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def history(http: httpx.AsyncClient, thread: str, **body: Any) -> list[Any]:
    response = await http.post(f"/threads/{thread}/history", json={"limit": 100, **body})
    assert response.status_code == 200, response.text
    states = response.json()
    assert isinstance(states, list)
    return states


async def update(http: httpx.AsyncClient, thread: str, **body: Any) -> str:
    """Updates the state. Returns the id of the new checkpoint."""
    response = await http.post(f"/threads/{thread}/state", json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer) == {"checkpoint", "configurable", "checkpoint_id"}
    assert answer["checkpoint"] == answer["configurable"]
    assert answer["checkpoint"]["thread_id"] == thread
    assert answer["checkpoint"]["checkpoint_id"] == answer["checkpoint_id"]
    return str(answer["checkpoint_id"])
