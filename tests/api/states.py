"""How tests of the API read and write a thread's state."""

from typing import Any

import httpx

NO_CHECKPOINT = "1ef00000-0000-6000-8000-000000000000"


async def state(http: httpx.AsyncClient, thread: str, tail: str = "", **query: Any) -> Any:
    response = await http.get(f"/threads/{thread}/state{tail}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def history(http: httpx.AsyncClient, thread: str, **body: Any) -> list[Any]:
    response = await http.post(f"/threads/{thread}/history", json={"limit": 100, **body})
    assert response.status_code == 200, response.text
    found = response.json()
    assert isinstance(found, list)
    return found


async def update(http: httpx.AsyncClient, thread: str, **body: Any) -> str:
    """Writes a state; returns the id of its checkpoint."""
    response = await http.post(f"/threads/{thread}/state", json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer) == {"checkpoint", "configurable", "checkpoint_id"}
    assert answer["checkpoint"] == answer["configurable"]
    assert answer["checkpoint"]["thread_id"] == thread
    assert answer["checkpoint"]["checkpoint_id"] == answer["checkpoint_id"]
    return str(answer["checkpoint_id"])
