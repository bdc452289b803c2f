"""Records which test covers of which field of a run request; and helpers of those tests."""

from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from golden.normalise import parse_sse
from harness.waiting import until

Test = TypeVar("Test", bound=Callable[..., Any])
COVERED_FIELDS: dict[str, list[str]] = {}  # field → the tests that cover it


def covers(*fields: str) -> Callable[[Test], Test]:
    """Records that a test covers these fields."""

    def note(test: Test) -> Test:
        for field in fields:
            COVERED_FIELDS.setdefault(field, []).append(test.__name__)
        return test

    return note


def events(response: httpx.Response, name: str) -> list[Any]:
    """Returns the data of a stream's events with one name."""
    assert response.status_code == 200, response.text
    return [data for event, data in parse_sse(response.text) if event == name]


def kinds(response: httpx.Response) -> set[str]:
    """Returns the names of a stream's events, except for its first and last event."""
    assert response.status_code == 200, response.text
    return {name for name, _ in parse_sse(response.text)} - {"metadata", "end"}


async def busy(http: httpx.AsyncClient, thread: str, **fields: Any) -> str:
    """Starts a long run. Returns its id once it is running."""
    body: dict[str, Any] = {"assistant_id": "slow", "input": {"items": []}, **fields}
    run = (await http.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]

    async def runs() -> bool:
        return await status(http, thread, run) == "running"

    await until(runs)
    return str(run)


async def status(http: httpx.AsyncClient, thread: str, run: str) -> str:
    return str((await http.get(f"/threads/{thread}/runs/{run}")).json()["status"])
