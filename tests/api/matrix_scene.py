"""The records at which the doors of the matrix are tried: each is made for the first door that names it."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from api.requests import STEPS, UNKNOWN_ID
from harness.waiting import until

Ids = dict[str, str]
LATER = {**STEPS, "after_seconds": 3600}
# What the names of a scene are in a request for records that do not exist. Others are UNKNOWN_ID.
UNKNOWN: Ids = {
    "tag": "no-tag",
    "tool": "no-tool",
    "interrupt_id": "0" * 32,
    "task_id": f"{UNKNOWN_ID}:{UNKNOWN_ID}",
    "chat": "chat",
    "queue": "no-queue",
    "namespace": "none",
}


class Scene:
    """Records of the owner, by the names that doors use."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        """`http` sends the requests of the owner."""
        self._http = http
        self._making: dict[Any, asyncio.Task[Ids]] = {}
        self.tag = uuid.uuid4().hex[:12]

    async def ids(self, names: set[str]) -> Ids:
        """Returns the values of the names, after it has made the records that they need."""
        ids: Ids = {
            "tag": self.tag, "chat": "chat", "queue": "no-queue", "namespace": "none", "new_id": str(uuid.uuid4()),
        }  # fmt: skip
        for make, makes in MAKERS.items():
            if names & makes:
                if make not in self._making:
                    self._making[make] = asyncio.create_task(make(self._http, self.tag))
                ids |= await asyncio.shield(self._making[make])
        return ids


async def _post(http: httpx.AsyncClient, path: str, body: Any) -> Any:
    response = await http.post(path, json=body)
    assert response.status_code < 300, f"{path}: {response.text}"
    return response.json() if response.content.strip() else None


async def _a_thread(http: httpx.AsyncClient, tag: str) -> str:
    return str((await _post(http, "/threads", {"metadata": {"tag": tag}}))["thread_id"])


async def _thread(http: httpx.AsyncClient, tag: str) -> Ids:
    thread = await _a_thread(http, tag)
    run = await _post(http, f"/threads/{thread}/runs", STEPS)
    await http.get(f"/threads/{thread}/runs/{run['run_id']}/join")
    state = (await http.get(f"/threads/{thread}/state")).json()
    return {
        "thread_id": thread,
        "run_id": run["run_id"],
        "checkpoint_id": state["checkpoint"]["checkpoint_id"],
    }


async def _due(http: httpx.AsyncClient, tag: str) -> Ids:
    thread = await _a_thread(http, tag)
    body = {**LATER, "metadata": {"tag": tag}}
    run = await _post(http, f"/threads/{thread}/runs", body)
    return {"due_thread_id": thread, "due_run_id": run["run_id"]}


async def _loose(http: httpx.AsyncClient, tag: str) -> Ids:
    run = await _post(http, "/runs", {**STEPS, "on_completion": "keep"})
    await http.get(f"/runs/{run['run_id']}/join")
    return {"loose_run_id": run["run_id"]}


async def _due_loose(http: httpx.AsyncClient, tag: str) -> Ids:
    run = await _post(http, "/runs", LATER)
    return {"due_loose_run_id": run["run_id"], "due_loose_thread_id": run["thread_id"]}


async def _paused(http: httpx.AsyncClient, tag: str) -> Ids:
    thread = await _a_thread(http, tag)
    body = {"assistant_id": "approval", "input": {"topic": "x"}}
    await _post(http, f"/threads/{thread}/runs/wait", body)
    waiting = (await http.get(f"/threads/{thread}")).json()["interrupts"]
    [[interrupt]] = waiting.values()
    return {"paused_thread_id": thread, "interrupt_id": interrupt["id"]}


async def _assistant(http: httpx.AsyncClient, tag: str) -> Ids:
    body = {"graph_id": "steps", "name": f"mine-{tag}", "metadata": {"tag": tag}}
    assistant = (await _post(http, "/assistants", body))["assistant_id"]
    return {"assistant_id": assistant, "agent_id": assistant, "tool": f"mine-{tag}"}


async def _cron(http: httpx.AsyncClient, tag: str) -> Ids:
    body = {**STEPS, "schedule": "0 0 1 1 *", "metadata": {"tag": tag}}
    return {"cron_id": (await _post(http, "/runs/crons", body))["cron_id"]}


async def _task(http: httpx.AsyncClient, tag: str) -> Ids:
    message = {"role": "ROLE_USER", "messageId": "m1", "parts": [{"text": "hello"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    task = (await _post(http, "/a2a/chat", body))["result"]["task"]
    return {"task_id": task["id"], "context_id": task["contextId"]}


async def _item(http: httpx.AsyncClient, tag: str) -> Ids:
    item = {"namespace": ["owner"], "key": "k", "value": {"tag": tag}}
    assert (await http.put("/store/items", json=item)).status_code == 204
    return {"item": tag}


MAKERS: dict[Callable[[httpx.AsyncClient, str], Coroutine[Any, Any, Ids]], set[str]] = {
    _thread: {"thread_id", "run_id", "checkpoint_id", "tag"},
    _due: {"due_thread_id", "due_run_id", "tag"},
    _loose: {"loose_run_id"},
    _due_loose: {"due_loose_run_id"},
    _paused: {"paused_thread_id", "interrupt_id"},
    _assistant: {"assistant_id", "agent_id", "tool", "tag"},
    _cron: {"cron_id", "tag"},
    _task: {"task_id", "context_id"},
    _item: {"item"},
}


async def clean(http: httpx.AsyncClient) -> None:
    """Deletes what keeps a key: crons, assistants, items, runs that are due later. `http` is an admin's."""
    while crons := (await http.post("/runs/crons/search", json={"limit": 1000})).json():
        for cron in crons:
            await http.delete(f"/runs/crons/{cron['cron_id']}")
    assistants = (await http.post("/assistants/search", json={"limit": 1000})).json()
    for assistant in assistants:
        if assistant["metadata"].get("created_by") != "system":
            await http.delete(f"/assistants/{assistant['assistant_id']}")
    await http.post("/runs/cancel", json={"status": "all"})
    await http.request("DELETE", "/store/items", json={"namespace": ["owner"], "key": "k"})

    async def ended() -> bool:
        live = await http.post("/runs/search", json={"status": "pending"})
        return bool(live.json() == [])

    await until(ended)
