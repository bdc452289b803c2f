"""Requests and models that several tests of the API share."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import httpx
from pydantic import BaseModel

from harness.processes import Fleet
from harness.waiting import until
from millstream.api.assistants.schemas import AssistantSearch
from millstream.api.protocol.schemas import EventStreamRequest, ProtocolCommand
from millstream.api.runs.schemas import RunCreateStateful, RunCreateStateless
from millstream.api.threads.schemas import ThreadCreate, ThreadFilter, ThreadSearch, ThreadsPrune
from millstream.api.threads.state_schemas import HistoryRequest, StateAtCheckpoint, StateUpdate

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
STEPS: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}}
MODELS: dict[str, type[BaseModel]] = {
    "/threads/{thread}/runs": RunCreateStateful,
    "/runs": RunCreateStateless,
    "/threads": ThreadCreate,
    "/assistants/search": AssistantSearch,
}
DESCRIBED: dict[str, type[BaseModel]] = {  # including those that test_state.py tests
    **MODELS,
    "/threads/{thread}/state": StateUpdate,
    "/threads/{thread}/state/checkpoint": StateAtCheckpoint,
    "/threads/{thread}/history": HistoryRequest,
    "/threads/prune": ThreadsPrune,
    "/threads/search": ThreadSearch,
    "/threads/count": ThreadFilter,
    "/threads/{thread}/commands": ProtocolCommand,
    "/threads/{thread}/stream/events": EventStreamRequest,
}


# Starts an API with the `http` of langgraph.json that is passed, and yields a client of it.
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class System(Protocol):
    """The running system, as these tests use it."""

    fleet: Fleet

    @property
    def url(self) -> str: ...

    @property
    def worker_url(self) -> str: ...


def detail(response: httpx.Response) -> str:
    """Returns the detail of an error response. Fails if the body has another field."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["detail"]
    assert isinstance(body["detail"], str)
    assert body["detail"]
    return str(body["detail"])


async def start(http: httpx.AsyncClient, thread: str, graph: str = "slow", **fields: Any) -> str:
    """Starts a run. Returns its path once it is running."""
    body = {"assistant_id": graph, "input": {"items": []}, **fields}
    run = (await http.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]
    path = f"/threads/{thread}/runs/{run}"

    async def runs() -> bool:
        return bool((await http.get(path)).json()["status"] == "running")

    await until(runs)
    return path


async def status(http: httpx.AsyncClient, path: str) -> str:
    return str((await http.get(path)).json()["status"])
